"use strict";
/** Puts the page together. */
page.main = (() => {
  const { byId, plural, score } = page.dom;

  function headings() {
    const { studies } = page.state.payload;
    const trials = page.state.items.reduce((sum, item) => sum + Math.max(1, item.network.runs.length), 0);
    const networks = new Set(page.state.items.filter((item) => item.network.state === "COMPLETE").map((item) => `${item.index}/${item.network.arch_id}`)).size;
    byId("title").textContent = studies.map((study) => study.name).join(" beside ");
    byId("subtitle").textContent = `${plural(networks, "trained network")} in ${plural(trials, "trial")}`;
  }

  /** What the chart and the table show follows the choice; the rest follows only the axes. */
  function redraw() {
    page.frontier.controls(redraw);
    page.frontier.draw();
    page.detail.draw();
    page.table.draw();
    page.sections.draw();
  }

  function select(key) {
    const item = page.state.find(key);
    if (!item) return;
    page.state.choice.selected = key;
    page.frontier.draw();
    page.detail.draw();
    page.table.draw();
    const told = item.network.scores[page.state.choice.score];
    byId("announcement").textContent = `${page.state.nameOf(item)} chosen${told ? `, ${score(told)}` : ""}`;
  }

  /** To begin with, the best network is chosen, so that the page shows what it can show. */
  function best() {
    const { score: name } = page.state.choice;
    const scored = page.state.visible().filter((item) => item.network.state === "COMPLETE" && item.network.scores[name]);
    return scored.reduce((top, item) => (top && top.network.scores[name][0] >= item.network.scores[name][0] ? top : item), null);
  }

  function start() {
    page.state.load(JSON.parse(byId("payload").textContent ?? "{}"));
    page.state.choice.selected = best()?.key ?? "";
    headings();
    page.theme.start(redraw);
    page.table.start();
    redraw();
    page.live.start((payload) => { page.state.load(payload); headings(); redraw(); });
    document.body.dataset.drawn = "true";
  }

  return { start, select };
})();
page.main.start();
