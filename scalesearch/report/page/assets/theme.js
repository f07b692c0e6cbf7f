"use strict";
/** Light and dark: the system's choice until the button says otherwise; paper is always light. */
page.theme = (() => {
  const NAMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const ORDER = ["auto", "light", "dark"];
  let chosen = "auto";
  let isPrinting = false;

  // Okabe and Ito's palette, told apart with every common colour blindness; shapes say the same.
  const STYLES = {
    search: { colour: "--blue", symbol: "circle", size: 8 },
    scale: { colour: "--green", symbol: "diamond", size: 8 },
    family: { colour: "--vermillion", symbol: "square", size: 10 },
    curves: { colour: "--purple", symbol: "triangle-up", size: 9 },
    "detect-scale": { colour: "--blue", symbol: "circle", size: 8 },
    detect: { colour: "--vermillion", symbol: "square", size: 10 },
  };
  // of ways of training to the end, and whatever else a record names, in the order in which they appear
  const OTHERS = [
    { colour: "--orange", symbol: "pentagon", size: 9 },
    { colour: "--green", symbol: "x", size: 9 },
    { colour: "--purple", symbol: "star", size: 10 },
  ];
  const others = [];

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Colour, symbol and size of a part; a second study's symbols are hollow and its lines dotted. */
  function style(part, index) {
    if (!STYLES[part] && !others.includes(part)) others.push(part);
    const { colour: name, symbol, size } = STYLES[part] ?? OTHERS[others.indexOf(part) % OTHERS.length];
    return { colour: colour(name), symbol: index ? `${symbol}-open` : symbol, size, dash: index ? "dot" : "solid" };
  }

  /** What every chart has in common. */
  function layout(changes) {
    const axis = {
      gridcolor: colour("--line"), linecolor: colour("--faint"), zeroline: false, automargin: true,
      tickcolor: colour("--faint"), title: { standoff: 10 },
    };
    const { xaxis, yaxis, ...others } = changes;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
      margin: { l: 56, r: 14, t: 26, b: 48 }, dragmode: false, hoverlabel: {
        bgcolor: colour("--card"), bordercolor: colour("--faint"), align: "left",
        font: { color: colour("--ink"), size: 12, family: getComputedStyle(document.body).fontFamily },
      },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { size: 12 } },
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...others,
    };
  }

  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  function apply() {
    const used = isPrinting ? "light" : chosen;
    document.documentElement.dataset.theme = used === "auto" ? (system.matches ? "dark" : "light") : used;
    page.dom.byId("theme").textContent = NAMES[chosen];
  }

  /** @param {() => void} redraw */
  function start(redraw) {
    const again = () => { apply(); redraw(); };
    page.dom.byId("theme").addEventListener("click", () => {
      chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
      again();
    });
    system.addEventListener("change", again);
    window.addEventListener("beforeprint", () => { isPrinting = true; again(); });
    window.addEventListener("afterprint", () => { isPrinting = false; again(); });
    apply();
  }

  return { start, style, colour, layout, config };
})();
