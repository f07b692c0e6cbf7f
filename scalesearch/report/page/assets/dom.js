"use strict";
/** The one name the scripts of this page share. */
const page = {};

/** Elements and numbers. Whatever comes from the record becomes a text node, never markup. */
page.dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  /** @param {Element} node @param {Object<string, any>} attributes @param {(Node | string | null)[]} children */
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
    return node;
  }

  const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

  /** A text as Plotly may show it: its own small markup is escaped. */
  const plotText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

  /** A count with three digits, as 1.30 M. */
  function count(value) {
    for (const [size, letter] of PREFIXES) if (value >= size) return `${digits(value / size)} ${letter}`;
    return digits(value);
  }

  const digits = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());
  const percent = (value, places = 2) => `${(100 * value).toFixed(places)} %`;

  /** A cost by its name: counts with a prefix, milliseconds, MiB. */
  function cost(name, value) {
    if (value === null || value === undefined) return "";
    if (name === "latency_ms") return `${digits(value)} ms`;
    if (name === "peak_memory_mib") return `${digits(value)} MiB`;
    return count(value);
  }

  /** A score with its standard error, where several seeds give one. */
  function score(value) {
    if (!value) return "";
    return value[1] === null ? percent(value[0]) : `${percent(value[0])} ± ${(100 * value[1]).toFixed(2)}`;
  }

  /** A value of a table, whatever it is. */
  function cell(value) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(4)).toString();
  }

  /** Round values between the least and the greatest, as few as will do. */
  function logTicks(values) {
    const low = values.reduce((one, two) => Math.min(one, two)), high = values.reduce((one, two) => Math.max(one, two));
    for (const steps of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 6, 8]]) {
      const ticks = [];
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade += 1) {
        ticks.push(...steps.map((step) => step * 10 ** decade));
      }
      const inside = ticks.filter((tick) => tick >= 0.95 * low && tick <= 1.05 * high);
      if (inside.length >= 4) return inside;
    }
    return low === high ? [low] : [low, Math.sqrt(low * high), high];
  }

  /** The ticks of a logarithmic axis over these values, as Plotly takes them. */
  function logAxis(values, text) {
    const ticks = values.length ? logTicks(values) : [];
    return { tickmode: "array", tickvals: ticks, ticktext: ticks.map(text), tickangle: 0 };
  }

  /** A number with its noun. */
  const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  /** A table that scrolls by itself where it is wider than the page. */
  function table(told, caption = true) {
    const numeric = told.columns.map((_, at) => told.rows.some((row) => typeof row[at] === "number"));
    const align = (at) => (numeric[at] ? "number" : "text");
    return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": told.title },
      el("table", {},
        caption ? el("caption", {}, told.title) : null,
        el("thead", {}, el("tr", {}, told.columns.map((name, at) => el("th", { scope: "col", class: align(at) }, name)))),
        el("tbody", {}, told.rows.map((row) => el("tr", {},
          row.map((value, at) => el("td", { class: align(at) }, cell(value))))))));
  }

  return { el, svg, byId, plotText, logAxis, plural, count, digits, percent, cost, score, cell, table };
})();
