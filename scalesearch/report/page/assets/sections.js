"use strict";
/** What stands below the table of networks: one section a subject, of each study what it has. */
page.sections = (() => {
  const { el, byId, digits, percent, table } = page.dom;
  const { choice } = page.state;
  const MOST_SHARES = 15, LEAST_SHARE = 0.001;

  function section(id, title, ...children) {
    const shown = children.flat().filter(Boolean);
    return shown.length ? el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), shown) : null;
  }

  /** Of each study what `make` gives, under its name where there are two. */
  function each(make) {
    const { studies } = page.state.payload;
    return studies.flatMap((study) => {
      const made = [make(study)].flat().filter(Boolean);
      return made.length && studies.length > 1 ? [el("h3", {}, study.name), ...made] : made;
    });
  }

  const note = (text) => el("p", { class: "note" }, text);

  function growth() {
    const lines = page.state.current().flatMap(({ study, index, view }) => view.series
      .filter((series) => ["search", "detect-scale"].includes(series.name) && series.history.length)
      .map((series) => ({ name: page.state.title(`${study.name}/${series.name}`), part: series.name, index, ...series })));
    if (!lines.length) return null;
    const [cost, score] = page.state.current()[0].view.reference;
    const finals = lines.map((line) => `${line.name} ends at ${page.dom.count(line.hypervolume)}`).join("; ");
    return section("growth", "How the search went", page.charts.hypervolume(lines),
      note(`Hypervolume in ${choice.cost} times score, over the corner of ${page.dom.cost(choice.cost, cost)} and ${percent(score)}: ${finals}. What costs more than the corner adds nothing to it.`));
  }

  function importance(study) {
    if (!study.importance) return null;
    const shown = study.importance.shares.slice(0, MOST_SHARES).filter(([, share]) => share >= LEAST_SHARE);
    const most = Math.max(...shown.map(([, share]) => share), LEAST_SHARE), hidden = study.importance.shares.length - shown.length;
    const rows = shown.map(([name, share]) => {
      const bar = el("span", { class: "bar wide", "aria-hidden": "true" });
      bar.style.width = `${(100 * share / most).toFixed(1)}%`;
      return el("tr", {}, el("th", { scope: "row", class: "text" }, name), el("td", { class: "track" }, bar), el("td", { class: "number" }, share.toFixed(3)));
    });
    return [rows.length ? el("table", { class: "bars" }, el("tbody", {}, rows)) : null, note(study.importance.sentence + (hidden ? ` ${hidden} smaller ones are left out.` : ""))];
  }

  function map(study) {
    return study.map ? [page.charts.map(study.map), ...study.map.sentences.map((sentence) => el("p", { class: "prose" }, sentence))] : null;
  }

  function curves(study) {
    const told = study.curves.find((one) => one.cost_name === choice.cost) ?? study.curves[0];
    if (!told) return null;
    const fits = told.curves.filter((curve) => curve.fit).map((curve) => `${curve.strategy} ${curve.fit.exponent.toFixed(3)} ± ${curve.fit.exponent_se === null ? "?" : curve.fit.exponent_se.toFixed(3)}`);
    return [page.charts.curves(told), note([fits.length ? `Power laws, error falls as cost to the minus: ${fits.join(", ")}; thin and dotted where they go beyond what was trained.` : "",
      "Bars: ±1 standard error over seeds. The cost is that chosen above, where it was measured."].join(" "))];
  }

  function fidelity(study) {
    if (!study.fidelity) return null;
    const columns = ["score", "networks", "Kendall's τ", "95 % from", "to", "of the best quarter", "seconds a network"];
    const rows = study.fidelity.rows.map((row) => [row.name, row.num_networks, row.tau, row.tau_low, row.tau_high, row.top.at(-1)?.overlap ?? null, row.mean_seconds]);
    return [page.charts.fidelity(study.fidelity), table({ title: "Agreement with the longer training", columns, rows }),
      note(`The longer training took ${digits(study.fidelity.reference_seconds)} s a network. τ is 1 where a score orders every pair alike, 0 at chance; intervals are over bootstrap samples of the networks.`)];
  }

  const detectors = (study) => [...study.detectors.map((told) => table(told)),
    ...study.pictures.map((picture) => el("figure", {}, el("img", { src: picture.uri, alt: picture.title }), el("figcaption", {}, picture.title)))];

  function runs(study) {
    return [table(study.parts), table(study.sessions), el("p", { class: "prose" }, `Seeds: ${study.seeds}.`),
      el("ul", {}, study.machines.map((line) => el("li", {}, line))),
      study.notes ? el("details", {}, el("summary", {}, "Notes"), el("pre", { class: "notes" }, study.notes)) : null,
      study.config ? el("details", {}, el("summary", {}, "Configuration"), el("pre", {}, el("code", {}, study.config))) : null];
  }

  function draw() {
    const open = new Set([...byId("sections").querySelectorAll("details[open] > summary")].map((node) => node.textContent));
    byId("sections").replaceChildren(...[
      growth(), section("importance", "Which choices decide", each(importance)),
      section("map", "The map of scaling rules", each(map)),
      section("curves", "What grows, and what it buys", each(curves)),
      section("fidelity", "How far to trust the brief training", withFallback(each(fidelity))),
      section("detectors", "Detectors", each(detectors)), section("runs", "What was run", each(runs)),
    ].filter(Boolean));
    for (const node of byId("sections").querySelectorAll("details")) if (open.has(node.firstChild.textContent)) node.open = true;
    page.charts.redraw();
  }

  function withFallback(made) {
    const searched = page.state.payload.studies.find((study) => study.networks.some((network) => network.part === "search"));
    return made.length || !searched ? made : [note(`Nobody has measured it for this study: scalesearch fidelity ${searched.arguments}`)];
  }

  return { draw };
})();
