"use strict";
/** Drawings of one network: its blocks as bars, and lines of its readings. */
page.drawing = (() => {
  const { el, svg, digits, percent } = page.dom;
  const HEIGHT = 132, GAP = 10, LEAST = 58;
  const KINDS = { ds: ["depthwise separable", "--green"], ir: ["MBConv", "--blue"], er: ["fused MBConv", "--orange"],
    cn: ["convolution", "--purple"] };
  const REST = ["stem, head, neck", "--faint"];

  const kindOf = (stage) => KINDS[stage.block.split("_")[0]] ?? REST;

  /** A bar a block: as high as its map is large, as wide as it has channels, both by their square root. */
  function stages(arch) {
    const drawn = arch.stages.filter((stage) => stage.size > 0);
    const tallest = Math.max(...drawn.map((stage) => stage.size));
    const widest = Math.max(...drawn.map((stage) => stage.channels));
    const bar = (stage) => ({ width: 5 + 20 * Math.sqrt(stage.channels / widest), height: 8 + (HEIGHT - 8) * Math.sqrt(stage.size / tallest) });
    const parts = [];
    let left = 4;
    for (const stage of drawn) {
      const { width, height } = bar(stage), depth = Math.min(stage.depth, 12);
      const total = Math.max(LEAST, depth * (width + 2)), start = left + (total - depth * (width + 2)) / 2;
      const colour = page.theme.colour(kindOf(stage)[1]);
      const bars = Array.from({ length: depth }, (_, at) => svg("rect", {
        x: start + at * (width + 2), y: (HEIGHT - height) / 2 + 2, width, height, rx: 2, fill: colour, "fill-opacity": 0.82 }));
      const lines = [stage.name.replace("stage ", "stage "), `${stage.size} px`, `${stage.channels} ch`, stage.depth > 1 ? `×${stage.depth}` : ""];
      const text = lines.map((line, at) => svg("text", { x: left + total / 2, y: HEIGHT + 20 + 14 * at, class: at ? "" : "strong" }, line));
      parts.push(svg("g", {}, svg("title", {}, [stage.name, stage.block].filter(Boolean).join(": ")), bars, text));
      left += total + GAP;
    }
    const words = drawn.map((stage) => `${stage.name}: ${stage.depth} block${stage.depth > 1 ? "s" : ""}, ${stage.channels} channels, ${stage.size} px`);
    const legend = [...new Map(drawn.map((stage) => [kindOf(stage)[0], kindOf(stage)[1]]))];
    return el("figure", { class: "drawing" },
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Drawing of the network" },
        svg("svg", { viewBox: `0 0 ${left} ${HEIGHT + 68}`, width: left, height: HEIGHT + 68, role: "img",
          "aria-label": `Blocks in the order of the data. ${words.join("; ")}.` }, parts)),
      el("figcaption", {}, "A bar a block: its height is the side of its map, its width its channels. ",
        legend.map(([name, colour]) => el("span", { class: "key" },
          svg("svg", { width: 10, height: 10, "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2, fill: page.theme.colour(colour) })),
          ` ${name} `))));
  }

  /** At most five of many, evenly, the last one among them. */
  function few(items) {
    const stride = Math.ceil(items.length / 5);
    return items.filter((_, index) => (items.length - 1 - index) % stride === 0);
  }

  /** Score against training steps, a line a training. */
  function readings(runs) {
    const drawn = runs.filter((run) => run.readings.length);
    if (!drawn.length) return null;
    const all = drawn.flatMap((run) => run.readings), width = 320, height = 150, left = 44, bottom = 118;
    const most = Math.max(...all.map(([steps]) => steps)), high = Math.max(...all.map(([, value]) => value)) || 1;
    const x = (steps) => left + (width - left - 12) * (steps / most), y = (value) => bottom - (bottom - 12) * (value / high);
    const label = (at, up, text, anchor) => svg("text", { x: at, y: up, "text-anchor": anchor }, text);
    const lines = drawn.map((run) => svg("g", {}, svg("polyline", {
      points: run.readings.map(([steps, value]) => `${x(steps)},${y(value)}`).join(" "), fill: "none", stroke: page.theme.colour("--blue"), "stroke-width": 2 }),
    run.readings.map(([steps, value]) => svg("circle", { cx: x(steps), cy: y(value), r: run.readings.length > 12 ? 1.5 : 3.5, fill: page.theme.colour("--blue") },
      svg("title", {}, `${steps} steps: ${percent(value)}`)))));
    const told = drawn[0].readings.map(([steps, value]) => `${percent(value)} after ${steps} steps`).join(", ");
    return el("figure", { class: "drawing" },
      svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Readings while it trained: ${told}.` },
        svg("path", { d: `M${left} 8V${bottom}H${width - 8}`, fill: "none", stroke: page.theme.colour("--faint") }),
        label(left - 6, y(high) + 4, percent(high, 0), "end"), label(left - 6, bottom + 4, "0", "end"),
        few([...new Set(drawn[0].readings.map(([steps]) => steps))]).map((steps) => label(x(steps), bottom + 18, digits(steps), "middle")),
        label((left + width) / 2, bottom + 31, "training steps", "middle"), lines));
  }

  return { stages, readings };
})();
