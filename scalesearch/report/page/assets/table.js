"use strict";
/** Every network that is shown, as a table that sorts, filters and pages: the keyboard's way to choose one. */
page.table = (() => {
  const { el, byId, cost, score } = page.dom;
  const { choice } = page.state;
  const SIZE = 50;

  const COLUMNS = [
    { name: "network", title: "network", of: (item) => page.state.nameOf(item) },
    { name: "series", title: "series", of: (item) => page.state.title(page.state.seriesOf(item)) },
    { name: "state", title: "state", of: (item) => page.state.DOES[item.network.state] ?? "" },
    { name: "score", title: "score", numeric: true, of: (item) => item.network.scores[choice.score]?.[0] ?? null,
      text: (item) => score(item.network.scores[choice.score]) },
    { name: "seeds", title: "seeds", numeric: true, of: (item) => item.network.scores[choice.score]?.[2] ?? null },
    ...["macs", "params", "acts", "latency_ms", "peak_memory_mib"].map((name) => ({
      name, title: { latency_ms: "latency", peak_memory_mib: "memory" }[name] ?? name, numeric: true,
      of: (item) => item.network.costs[name] ?? null, text: (item) => cost(name, item.network.costs[name]) })),
    { name: "image_size", title: "px", numeric: true, of: (item) => item.arch?.image_size ?? null },
  ];

  function rows() {
    const wanted = choice.text.trim().toLowerCase();
    const found = page.state.visible().filter((item) => !wanted || haystack(item).includes(wanted));
    const column = COLUMNS.find((each) => each.name === choice.sort.column) ?? COLUMNS[0];
    const sign = choice.sort.down ? -1 : 1;
    return found.map((item) => [column.of(item), item]).sort(([one], [two]) => {
      if (one === null || two === null) return (one === null ? 1 : 0) - (two === null ? 1 : 0);
      return sign * (column.numeric ? one - two : String(one).localeCompare(String(two), "en", { numeric: true }));
    }).map(([, item]) => item);
  }

  const haystack = (item) => [page.state.nameOf(item), page.state.seriesOf(item), item.network.arch_id, item.network.state,
    item.network.reason, item.arch?.blocks ?? ""].join(" ").toLowerCase();

  function heading(column) {
    const isSorted = choice.sort.column === column.name;
    const sign = isSorted ? (choice.sort.down ? " ▾" : " ▴") : "";
    const sort = () => {
      choice.sort = { column: column.name, down: isSorted ? !choice.sort.down : Boolean(column.numeric && column.name === "score") };
      choice.at = 0;
      draw();
      byId("table").querySelector(`[data-column="${column.name}"]`)?.focus();
    };
    return el("th", { scope: "col", class: column.numeric ? "number" : "text", "aria-sort": isSorted ? (choice.sort.down ? "descending" : "ascending") : "none" },
      el("button", { type: "button", "data-column": column.name, onclick: sort }, column.title + sign));
  }

  function row(item, front) {
    const isChosen = item.key === choice.selected;
    return el("tr", { class: isChosen ? "chosen" : "", onclick: () => page.main.select(item.key) }, COLUMNS.map((column, at) => {
      if (at === 0) {
        return el("th", { scope: "row", class: "text" }, el("button", { type: "button", "data-key": item.key, "aria-pressed": isChosen ? "true" : "false" },
          column.of(item)), front.has(item.key) ? el("span", { class: "tag" }, "front") : null);
      }
      const text = column.text ? column.text(item) : column.of(item);
      return el("td", { class: column.numeric ? "number" : "text", title: column.name === "state" ? item.network.reason : null }, text === null ? "" : String(text));
    }));
  }

  /** Up and down go from row to row, Home and End to the ends of what is shown. */
  function walk(event) {
    const buttons = [...byId("table").querySelectorAll("[data-key]")], at = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || next === undefined || !buttons[next]) return;
    event.preventDefault();
    buttons[next].focus();
  }

  function draw() {
    const found = rows(), front = page.state.fronts(), focused = document.activeElement?.getAttribute?.("data-key");
    const last = Math.max(0, Math.ceil(found.length / SIZE) - 1);
    choice.at = Math.min(choice.at, last);
    const from = choice.at * SIZE, shown = found.slice(from, from + SIZE);
    byId("table").replaceChildren(el("table", {},
      el("caption", { class: "sr" }, "Networks; the buttons of the first row sort, those of the first column choose."),
      el("thead", {}, el("tr", {}, COLUMNS.map(heading))), el("tbody", {}, shown.map((item) => row(item, front)))));
    if (focused) [...byId("table").querySelectorAll("[data-key]")].find((each) => each.getAttribute("data-key") === focused)?.focus();
    const turn = (text, to, isOff) => el("button", { type: "button", disabled: isOff, onclick: () => { choice.at = to; draw(); } }, text);
    byId("pager").replaceChildren(
      el("span", { role: "status" }, found.length ? `${from + 1} to ${from + shown.length} of ${found.length.toLocaleString("en")}` : "None: every filter is off, or nothing matches."),
      ...(last ? [turn("Previous", choice.at - 1, choice.at === 0), turn("Next", choice.at + 1, choice.at === last)] : []));
  }

  function start() {
    const input = el("input", { type: "search", placeholder: "name, block string, reason", oninput: () => { choice.text = input.value; choice.at = 0; draw(); } });
    byId("table-controls").replaceChildren(el("label", {}, "Find ", input));
    byId("table").addEventListener("keydown", walk);
  }

  return { draw, start };
})();
