"use strict";
/** What is shown and what the reader has chosen. The choice outlives the payload: a live page gets a new one. */
page.state = (() => {
  const STATES = ["PRUNED", "INFEASIBLE", "DUPLICATE", "FAILED", "RUNNING"];
  const DOES = {
    PRUNED: "pruned", INFEASIBLE: "infeasible", DUPLICATE: "duplicate", FAILED: "failed", RUNNING: "running",
  };

  const choice = {
    cost: "macs", score: "", scale: "log", selected: "", text: "", sort: { column: "score", down: true }, at: 0,
    marks: { front: true, errors: true, budget: true, landmarks: false },
    /** @type {Object<string, boolean>} */ series: {},
    /** @type {Object<string, boolean>} */ states: {},
  };

  /** @type {Payload} */ let payload;
  /** @type {Item[]} */ let items = [];
  /** @type {Map<string, Item>} */ let byKey = new Map();

  /** @param {Payload} told */
  function load(told) {
    payload = told;
    items = payload.studies.flatMap((study, index) => study.networks.map((network) => ({
      key: `${study.name}/${network.id}`, study, index, network, arch: study.archs[network.arch_id] ?? null,
    })));
    byKey = new Map(items.map((item) => [item.key, item]));
    const scores = listScores();
    if (!scores.includes(choice.score)) choice.score = scores[0] ?? "val_top1";
    if (!listCosts().includes(choice.cost)) choice.cost = listCosts()[0] ?? "macs";
    for (const name of listSeries()) choice.series[name] ??= !name.endsWith("/curves") || listSeries().length === 1;
    for (const name of STATES) choice.states[name] ??= name === "PRUNED" || name === "RUNNING";
  }

  const unique = (values) => [...new Set(values)];
  const views = () => payload.studies.flatMap((study, index) => study.views.map((view) => ({ study, index, view })));
  const listScores = () => unique(views().map((each) => each.view.score));
  const listCosts = () => unique(views().filter((each) => each.view.score === choice.score).map((each) => each.view.cost));
  const listSeries = () => unique(items.map(seriesOf));
  const listStates = () => STATES.filter((name) => items.some((item) => item.network.state === name));
  const seriesOf = (item) => `${item.study.name}/${item.network.part}`;

  /** The views of the chosen axes, one a study that has them. */
  const current = () => views().filter(({ view }) => view.cost === choice.cost && view.score === choice.score);

  const isScored = (item) => item.network.scores[choice.score] !== undefined;
  const isShown = (item) => choice.series[seriesOf(item)]
    && (item.network.state === "COMPLETE" || choice.states[item.network.state]);
  const visible = () => items.filter(isShown);

  /** Keys of the networks on a front of the chosen axes. */
  const fronts = () => new Set(current().flatMap(({ study, view }) =>
    view.series.flatMap((series) => series.front.map((id) => `${study.name}/${id}`))));

  /** A series as people read it: its study is named where there are two. */
  const title = (name) => (payload.studies.length > 1 ? name.replace("/", ": ") : name.slice(name.indexOf("/") + 1));

  /** A network as people call it. */
  function nameOf(item) {
    const { label, runs, arch_id } = item.network;
    if (label) return label;
    return runs.length ? `${item.network.part} ${runs[0].number}` : arch_id;
  }

  return {
    choice, load, visible, current, fronts, listScores, listCosts, listSeries, listStates, seriesOf, isScored, isShown, title,
    nameOf, DOES, get payload() { return payload; }, get items() { return items; }, find: (key) => byKey.get(key),
  };
})();
