"use strict";
/** The charts below the frontier: each draws what Python worked out, into a place of its own. */
page.charts = (() => {
  const { el, plotText, percent, digits } = page.dom;
  const STRATEGIES = { compound: ["--vermillion", "square", "solid"], depth: ["--blue", "circle", "dash"],
    width: ["--green", "diamond", "dot"], resolution: ["--purple", "triangle-up", "dashdot"] };
  const greek = { alpha: "α", beta: "β", gamma: "γ" };
  const short = (value) => Number(value.toFixed(2)).toString();

  /** @type {[HTMLElement, () => any[]][]} */ let drawn = [];

  /** A place for a chart, which is drawn once it is on the page, and again when colours change. */
  function place(label, make, className = "plot") {
    const node = el("div", { class: className, role: "img", "aria-label": label });
    drawn.push([node, make]);
    return node;
  }

  function redraw() {
    drawn = drawn.filter(([node]) => node.isConnected);
    for (const [node, make] of drawn) {
      const [traces, layout] = make();
      Plotly.react(node, traces, layout, page.theme.config);
    }
  }

  /** How the hypervolume grew over the trials of the searches. */
  function hypervolume(lines) {
    return place("Hypervolume over trials", () => [lines.map(({ name, part, index, history }) => {
      const style = page.theme.style(part, index);
      return { x: history.map(([at]) => at + 1), y: history.map(([, value]) => value), name: plotText(name), mode: "lines",
        type: "scatter", line: { shape: "hv", color: style.colour, width: 2.2, dash: style.dash }, hovertemplate: "trial %{x}: %{y:.4s}<extra></extra>" };
    }), page.theme.layout({ showlegend: lines.length > 1, xaxis: { title: { text: "trials" }, rangemode: "tozero" },
      yaxis: { title: { text: "hypervolume" }, rangemode: "tozero", exponentformat: "SI" } })]);
  }

  /** The map: width against resolution as realised, the surface as colour, candidates as dots. */
  function map(told) {
    return place("Map of scaling rules", () => {
      const scale = { cmin: told.score_limits[0], cmax: told.score_limits[1], colorscale: CIVIDIS };
      const traces = told.field ? fieldTraces(told.field, scale) : [];
      for (const line of told.alpha_lines) {
        const xs = Array.from({ length: 12 }, (_, at) => line.start[0] * (line.end[0] / line.start[0]) ** (at / 11));
        const ys = xs.map((_, at) => line.start[1] * (line.end[1] / line.start[1]) ** (at / 11));
        traces.push({ x: xs, y: ys, mode: "lines+text", type: "scatter", text: xs.map((_, at) => (at === 11 ? `α ${short(line.alpha)}` : "")),
          textposition: "bottom right", textfont: { size: 11, color: page.theme.colour("--faint") }, hoverinfo: "skip", showlegend: false, line: { color: page.theme.colour("--faint"), width: 0.8, dash: "dot" } });
      }
      const groups = [["fewer seeds", "triangle-down", told.candidates.filter((one) => one.num_seeds < told.most_seeds)],
        ["candidates", "circle", told.candidates.filter((one) => one.num_seeds === told.most_seeds)], ["the choice", "star", [told.chosen]]];
      for (const [name, symbol, some] of groups) {
        if (some.length) traces.push(candidateTrace(name, symbol, some, scale, name === "candidates"));
      }
      traces.push({ x: [told.landmark.beta], y: [told.landmark.gamma], name: "EfficientNet's rule", mode: "markers", type: "scatter",
        marker: { symbol: "x-thin", size: 12, line: { color: page.theme.colour("--ink"), width: 2.5 } },
        hovertemplate: `EfficientNet's rule, unrounded: α ${short(told.landmark.alpha)}, β ${short(told.landmark.beta)}, γ ${short(told.landmark.gamma)}<extra></extra>` });
      return [traces, page.theme.layout({
        margin: { l: 56, r: 14, t: 40, b: 48 },
        xaxis: { title: { text: "width factor β, as realised" }, showgrid: false }, yaxis: { title: { text: "resolution factor γ, as realised" }, showgrid: false } })];
    }, "plot tall");
  }

  function candidateTrace(name, symbol, some, scale, showscale) {
    return { x: some.map((one) => one.width), y: some.map((one) => one.resolution), name, mode: "markers", type: "scatter",
      marker: { symbol, size: symbol === "star" ? 20 : 11, color: some.map((one) => one.score), ...scale, showscale,
        colorbar: { tickformat: ".1%", thickness: 12, outlinewidth: 0, title: { text: "top-1", side: "right" } },
        line: { color: symbol === "star" ? "#000" : "#fff", width: 1.4 } },
      hovertemplate: some.map((one) => `${Object.entries(greek).map(([key, letter]) => `${letter} ${short(one[key])}`).join(", ")}<br>`
        + `${one.score === null ? "not trained" : percent(one.score)}${one.standard_error === null ? "" : ` ± ${(100 * one.standard_error).toFixed(2)}`}, ${one.num_seeds} seeds<extra>${name}</extra>`) };
  }

  const CIVIDIS = [[0, "#00224e"], [0.125, "#123570"], [0.25, "#3b496c"], [0.375, "#575d6d"], [0.5, "#707173"], [0.625, "#8a8678"], [0.75, "#a59c74"], [0.875, "#c3b369"], [1, "#fee838"]];

  const SHADES = 32;

  /** The surface: the lattice's cells filled, those of one shade as one trace; dots where the maximum may lie. */
  function fieldTraces(field, scale) {
    const { betas, gammas, predicted, margins } = field;
    const shades = Array.from({ length: SHADES }, () => ({ x: [], y: [] }));
    for (let row = 0; row + 1 < betas.length; row += 1) {
      for (let at = 0; at + 1 < betas[row].length; at += 1) {
        const corners = [[row, at], [row, at + 1], [row + 1, at + 1], [row + 1, at]];
        const mean = corners.reduce((sum, [one, two]) => sum + predicted[one][two], 0) / 4;
        const shade = shades[Math.round((SHADES - 1) * shareOf(mean, scale))];
        shade.x.push(...corners.map(([one, two]) => betas[one][two]), null);
        shade.y.push(...corners.map(([one, two]) => gammas[one][two]), null);
      }
    }
    const traces = shades.map((shade, at) => ({ ...shade, mode: "lines", type: "scatter", fill: "toself", hoverinfo: "skip", showlegend: false,
      fillcolor: cividis(at / (SHADES - 1)), line: { color: cividis(at / (SHADES - 1)), width: 0.8 } })).filter((trace) => trace.x.length);
    const inside = { x: [], y: [] };
    margins.forEach((some, row) => some.forEach((margin, at) => {
      if (margin >= 0) { inside.x.push(betas[row][at]); inside.y.push(gammas[row][at]); }
    }));
    if (inside.x.length) {
      traces.push({ ...inside, mode: "markers", type: "scatter", name: "may hold the maximum (95 %)", hoverinfo: "skip", marker: { symbol: "circle", size: 3, color: "#fff" } });
    }
    return traces;
  }

  const shareOf = (value, { cmin, cmax }) => Math.max(0, Math.min(1, (value - cmin) / (cmax - cmin || 1)));

  /** Cividis between its nine colours. */
  function cividis(share) {
    const at = Math.min(CIVIDIS.length - 2, Math.floor(share * (CIVIDIS.length - 1))), part = share * (CIVIDIS.length - 1) - at;
    const mix = [1, 3, 5].map((from) => [at, at + 1].map((one) => parseInt(CIVIDIS[one][1].slice(from, from + 2), 16)))
      .map(([one, two]) => Math.round(one + part * (two - one)));
    return `rgb(${mix.join(",")})`;
  }

  /** Score against cost by what grows, with each strategy's power law. */
  function curves(told) {
    return place("Scaling curves", () => {
      const traces = [];
      for (const curve of told.curves) {
        const [name, symbol, dash] = STRATEGIES[curve.strategy] ?? ["--orange", "pentagon", "solid"], colour = page.theme.colour(name);
        for (const [part, width] of [["measured", 2], ["extrapolated", 1]]) {
          if (curve.fit) traces.push({ x: curve.fit[part].map(([x]) => x), y: curve.fit[part].map(([, y]) => y), mode: "lines", type: "scatter", hoverinfo: "skip", showlegend: false, legendgroup: curve.strategy,
            line: { color: colour, width, dash: part === "measured" ? dash : "dot" }, opacity: part === "measured" ? 0.9 : 0.45 });
        }
        traces.push({ x: curve.points.map((point) => point.cost), y: curve.points.map((point) => point.score), name: plotText(curve.strategy), legendgroup: curve.strategy,
          mode: curve.fit ? "markers" : "lines+markers", type: "scatter", line: { color: colour, dash }, marker: { color: colour, symbol, size: 10, line: { color: page.theme.colour("--page"), width: 1 } },
          error_y: { type: "data", array: curve.points.map((point) => point.standard_error ?? 0), color: colour, thickness: 1.2, width: 0 },
          hovertemplate: curve.points.map((point) => `<b>${plotText(point.label)}</b><br>${percent(point.score)}${point.standard_error === null ? "" : ` ± ${(100 * point.standard_error).toFixed(2)}`}, ${point.num_seeds} seeds<br>${page.dom.cost(told.cost_name, point.cost)}<extra></extra>`) });
      }
      return [traces, page.theme.layout({ xaxis: { type: "log", title: { text: page.state.payload.cost_labels[told.cost_name] ?? told.cost_name }, ...page.dom.logAxis(traces.flatMap((trace) => trace.x), page.dom.count) },
        yaxis: { title: { text: "top-1 on search-val" }, tickformat: ".0%" } })];
    });
  }

  /** Kendall's tau of each cheap score with its interval. */
  function fidelity(told) {
    const rows = [...told.rows].reverse();
    return place("How well cheap scores rank networks", () => [[{ x: rows.map((row) => row.tau), y: rows.map((row) => plotText(row.name)), mode: "markers", type: "scatter",
      marker: { color: page.theme.colour("--blue"), size: 11 }, error_x: { type: "data", symmetric: false, array: rows.map((row) => row.tau_high - row.tau), arrayminus: rows.map((row) => row.tau - row.tau_low), color: page.theme.colour("--blue"), thickness: 1.6, width: 4 },
      hovertemplate: rows.map((row) => `τ ${row.tau.toFixed(2)} (${row.tau_low.toFixed(2)} to ${row.tau_high.toFixed(2)}), ${digits(row.mean_seconds)} s a network<extra></extra>`) }],
    page.theme.layout({ xaxis: { title: { text: "Kendall's τ against the longer training" }, range: [Math.min(-0.1, ...rows.map((row) => row.tau_low - 0.05)), 1.05] }, yaxis: { type: "category" } })]);
  }

  return { hypervolume, map, curves, fidelity, redraw };
})();
