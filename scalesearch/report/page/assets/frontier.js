"use strict";
/** The frontier: every network over the chosen cost; its fronts and hypervolumes come from the record as they are. */
page.frontier = (() => {
  const { el, svg, byId, plotText, cost, score } = page.dom;
  const { choice } = page.state;
  const ROWS = ["INFEASIBLE", "FAILED", "RUNNING", "DUPLICATE", "PRUNED"]; // of the strip below, without a score
  const MARKS = { PRUNED: "triangle-down-open", INFEASIBLE: "x-thin-open", DUPLICATE: "circle-cross-open",
    FAILED: "cross-thin-open", RUNNING: "hourglass-open" };
  const LABELS = { front: "Pareto front", errors: "error bars", budget: "budget", landmarks: "EfficientNet B0 to B7" };
  let isWired = false;
  let isZoomed = false;

  function hoverText(item) {
    const { network, arch } = item;
    const told = network.scores[choice.score];
    const blocks = arch ? arch.blocks.split(",") : [];
    const seeds = told && told[2] > 1 ? ` over ${told[2]} seeds` : "";
    return [
      `<b>${plotText(page.state.nameOf(item))}</b>, ${plotText(page.state.title(page.state.seriesOf(item)))}`,
      told ? `${score(told)}${seeds}` : "",
      network.state === "COMPLETE" ? "" : plotText(`${page.state.DOES[network.state]} ${network.reason}`.slice(0, 90)),
      ["macs", "params", "latency_ms"].filter((name) => network.costs[name] !== undefined)
        .map((name) => cost(name, network.costs[name]) + (name === "latency_ms" ? "" : ` ${name}`)).join(" · "),
      arch ? `${arch.image_size} px, ${plotText(arch.spec.backbone ? "detector" : `${blocks.length} stages`)}` : "",
      ...blocks.slice(0, 4).map((block) => plotText(block.slice(0, 70))),
      blocks.length > 4 ? "…" : "",
    ].filter(Boolean).join("<br>") + "<extra></extra>";
  }

  const points = (items, y) => ({
    x: items.map((item) => item.network.costs[choice.cost]), y: items.map(y), customdata: items.map((item) => item.key),
    hovertemplate: items.map(hoverText), type: "scatter",
  });
  const height = (item) => item.network.scores[choice.score][0];

  /** The trained networks of one series, those on its front in full colour and joined. */
  function seriesTraces(name, items, front) {
    const { network, index } = items[0];
    const style = page.theme.style(network.part, index);
    const errors = items.map((item) => item.network.scores[choice.score][1]);
    const isBest = items.map((item) => front.has(item.key));
    const rim = style.symbol.endsWith("-open") ? style.colour : page.theme.colour("--page");
    const traces = [{
      ...points(items, height), name: plotText(page.state.title(name)), mode: "markers",
      marker: { color: style.colour, symbol: style.symbol, size: items.map((_, at) => style.size + (isBest[at] ? 2 : -1)),
        opacity: isBest.map((best) => (best || network.part === "family" ? 1 : 0.5)),
        line: { color: rim, width: style.symbol.endsWith("-open") ? 1.5 : 0.8 } },
      error_y: choice.marks.errors && errors.some((error) => error !== null)
        ? { type: "data", array: errors.map((error) => error ?? 0), color: style.colour, thickness: 1.2, width: 0 } : {},
    }];
    const best = items.filter((_, at) => isBest[at])
      .sort((one, two) => one.network.costs[choice.cost] - two.network.costs[choice.cost]);
    if (choice.marks.front && best.length > 1) {
      traces.unshift({ ...points(best, height), mode: "lines", hoverinfo: "skip", hovertemplate: undefined,
        line: { color: style.colour, width: 2, shape: "hv", dash: style.dash } });
    }
    return traces;
  }

  /** What has no score stands in a strip below the axis, at its cost. */
  function stateTraces(items) {
    const traces = [];
    for (const name of page.state.listStates()) {
      const found = items.filter((item) => item.network.state === name);
      for (const scored of [true, false]) {
        const some = found.filter((item) => page.state.isScored(item) === scored);
        if (!some.length) continue;
        const colour = page.theme.colour(name === "FAILED" ? "--vermillion" : "--faint");
        traces.push({ ...points(some, scored ? height : () => page.state.DOES[name]), mode: "markers",
          yaxis: scored ? "y" : "y2",
          marker: { symbol: MARKS[name], color: colour, size: 7, opacity: 0.75, line: { color: colour, width: 1.3 } } });
      }
    }
    return traces;
  }

  function selectedTrace() {
    const item = page.state.find(choice.selected);
    if (!item || !page.state.isShown(item) || item.network.costs[choice.cost] === undefined || !page.state.isScored(item)) return [];
    return [{ ...points([item], height), mode: "markers", hoverinfo: "skip", hovertemplate: undefined,
      marker: { symbol: "circle-open", size: 21, color: page.theme.colour("--ink"), line: { width: 2.2 } } }];
  }

  const line = (x, dash, colour) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper",
    line: { color: page.theme.colour(colour), width: 1.2, dash }, layer: "below" });
  const caption = (x, text, colour, y = 1) => ({ x: choice.scale === "log" ? Math.log10(x) : x, y, yref: "paper",
    xref: "x", text: plotText(text), showarrow: false, yanchor: "bottom", yshift: 2,
    font: { size: 11, color: page.theme.colour(colour) } });

  function marks() {
    const shapes = [], annotations = [];
    for (const { study, view } of choice.marks.budget ? page.state.current() : []) {
      if (view.budget === null) continue;
      const whose = page.state.payload.studies.length > 1 ? ` of ${study.name}` : "";
      shapes.push(line(view.budget, "dash", "--faint"));
      annotations.push(caption(view.budget, `budget${whose} ${cost(choice.cost, view.budget)}`, "--faint"));
    }
    for (const landmark of choice.marks.landmarks ? page.state.payload.landmarks : []) {
      const x = landmark.costs[choice.cost];
      if (x === undefined) continue;
      shapes.push(line(x, "dot", "--orange"));
      annotations.push(caption(x, landmark.name.replace("efficientnet-", "").toUpperCase(), "--ink", 0.93));
    }
    return { shapes, annotations };
  }

  function draw() {
    const items = page.state.visible().filter((item) => item.network.costs[choice.cost] !== undefined);
    const trained = items.filter((item) => item.network.state === "COMPLETE" && page.state.isScored(item));
    const front = page.state.fronts();
    const groups = page.state.listSeries().map((name) => [name, trained.filter((item) => page.state.seriesOf(item) === name)]);
    const traces = [...stateTraces(items.filter((item) => item.network.state !== "COMPLETE")),
      ...groups.filter(([, some]) => some.length).flatMap(([name, some]) => seriesTraces(name, some, front)),
      ...selectedTrace()];
    const rows = ROWS.map((name) => page.state.DOES[name]).filter((name) => traces.some((trace) => trace.yaxis === "y2" && trace.y[0] === name));
    const strip = rows.length > 0, share = 0.05 * rows.length;
    const layout = page.theme.layout({
      showlegend: false, dragmode: "zoom", ...marks(),
      uirevision: `${choice.cost} ${choice.score} ${choice.scale}`,
      xaxis: { type: choice.scale, title: { text: page.state.payload.cost_labels[choice.cost] ?? choice.cost, standoff: 8 },
        anchor: strip ? "y2" : "y", nticks: 7,
        tickformat: ["latency_ms", "peak_memory_mib"].includes(choice.cost) ? "~g" : "~s", ...ticks(items) },
      yaxis: { title: { text: page.state.payload.score_labels[choice.score] ?? choice.score }, tickformat: ".0%",
        domain: [strip ? share + 0.05 : 0, 1] },
    });
    if (strip) {
      layout.yaxis2 = { type: "category", domain: [0, share], showgrid: false, fixedrange: true, automargin: true,
        categoryorder: "array", range: [-0.6, rows.length - 0.4],
        categoryarray: rows, tickfont: { size: 11 } };
    }
    const plot = byId("frontier-plot");
    Plotly.react(plot, traces, layout, page.theme.config);
    if (!isWired) {
      isWired = true;
      plot.on("plotly_click", (event) => {
        const key = event.points[0]?.customdata;
        if (key) page.main.select(key);
      });
      plot.on("plotly_relayout", zoom);
      plot.addEventListener("keydown", step);
    }
    writeNote(items, trained);
  }

  /** Round ticks over all that is drawn; once somebody has zoomed in, Plotly's own. */
  function ticks(items) {
    const { landmarks } = page.state.payload;
    const marked = choice.marks.landmarks ? landmarks.map((one) => one.costs[choice.cost]).filter((x) => x !== undefined) : [];
    const values = [...items.map((item) => item.network.costs[choice.cost]), ...marked].filter((x) => x > 0);
    return choice.scale === "log" && !isZoomed ? page.dom.logAxis(values, page.dom.count) : {};
  }

  function zoom(event) {
    const was = isZoomed;
    if ("xaxis.range[0]" in event) isZoomed = true;
    if ("xaxis.autorange" in event) isZoomed = false;
    if (was !== isZoomed) draw();
  }

  /** Left and right: the next network in rising cost. */
  function step(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const items = page.state.visible().filter((item) => item.network.costs[choice.cost] !== undefined)
      .sort((one, two) => one.network.costs[choice.cost] - two.network.costs[choice.cost]);
    if (!items.length) return;
    event.preventDefault();
    const at = items.findIndex((item) => item.key === choice.selected);
    const next = at < 0 ? 0 : at + (event.key === "ArrowRight" ? 1 : -1);
    page.main.select(items[Math.max(0, Math.min(items.length - 1, next))].key);
  }

  function writeNote(items, trained) {
    const notes = page.state.current().flatMap(({ study, view }) => view.series
      .filter((series) => choice.series[`${study.name}/${series.name}`])
      .map((series) => {
        const left = series.num_left_out ? `, ${series.num_left_out} more lack this cost or score` : "";
        return `${page.state.title(`${study.name}/${series.name}`)}: ${page.dom.plural(series.num_networks, "network")}${left}, `
          + `${series.front.length} on the front.`;
      }));
    if (trained.some((item) => (item.network.scores[choice.score][1] ?? 0) > 0)) notes.push("Bars: ±1 standard error over seeds.");
    if (choice.score === "val_top1") notes.push("A front chosen by search-val flatters itself.");
    if (choice.cost === "latency_ms") notes.push("Latency: one thread; while another network may have been training, where not read afterwards.");
    if (choice.cost === "peak_memory_mib") notes.push("Peak memory is measured for the family and the curves; other networks have none.");
    if (choice.marks.landmarks) notes.push("B0 to B7 stand at what they cost with 1000 classes at their own image sizes; they were not trained on these images.");
    byId("frontier-note").textContent = notes.join(" ");
  }

  function select(label, value, options, onchange) {
    const list = el("select", { onchange: (event) => onchange(event.target.value) },
      options.map(([name, text]) => el("option", { value: name, selected: name === value }, text)));
    return el("label", {}, `${label} `, list);
  }

  function box(text, checked, onchange, sign = null) {
    return el("label", { class: "box" },
      el("input", { type: "checkbox", checked, onchange: (event) => onchange(event.target.checked) }), sign, text);
  }

  /** The sign of a series beside its name: the symbol that the chart draws. */
  function sign(part, index) {
    const { colour, symbol } = page.theme.style(part, index);
    const shape = symbol.replace("-open", "");
    const paint = { fill: index ? "none" : colour, stroke: colour, "stroke-width": 1.6 };
    const shapes = {
      circle: svg("circle", { cx: 7, cy: 7, r: 4.5, ...paint }), square: svg("rect", { x: 2.5, y: 2.5, width: 9, height: 9, ...paint }),
      diamond: svg("path", { d: "M7 1.5 12.5 7 7 12.5 1.5 7Z", ...paint }),
      "triangle-up": svg("path", { d: "M7 2 12.5 12 1.5 12Z", ...paint }),
      pentagon: svg("path", { d: "M7 1.5 12.5 5.5 10.4 12 3.6 12 1.5 5.5Z", ...paint }),
    };
    return svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, shapes[shape]);
  }

  function group(name, ...children) {
    return el("fieldset", {}, el("legend", {}, name), ...children);
  }

  /** Build the controls; they change the choice and draw again. */
  function controls(redraw) {
    const set = (name) => (value) => { choice[name] = value; isZoomed = false; page.state.load(page.state.payload); redraw(); };
    const { cost_labels: costs, score_labels: scores } = page.state.payload;
    byId("axes").replaceChildren(
      select("Cost", choice.cost, page.state.listCosts().map((name) => [name, costs[name] ?? name]), set("cost")),
      select("Score", choice.score, page.state.listScores().map((name) => [name, scores[name] ?? name]), set("score")),
      select("Axis", choice.scale, [["log", "logarithmic"], ["linear", "linear"]], set("scale")),
    );
    const change = (table, name) => (value) => { table[name] = value; redraw(); };
    const states = page.state.listStates();
    const countOf = (name) => page.state.items.filter((item) => item.network.state === name).length;
    byId("toggles").replaceChildren(
      group("Series", page.state.listSeries().map((name) => {
        const item = page.state.items.find((each) => page.state.seriesOf(each) === name);
        return box(page.state.title(name), choice.series[name], change(choice.series, name), sign(item.network.part, item.index));
      })),
      ...(states.length ? [group("Also", states.map((name) =>
        box(`${page.state.DOES[name]} (${countOf(name)})`, choice.states[name], change(choice.states, name))))] : []),
      group("Marks", Object.entries(LABELS).map(([name, text]) => box(text, choice.marks[name], change(choice.marks, name)))),
    );
  }

  return { draw, controls };
})();
