"use strict";
/** The chosen network: drawing, readings, costs by stage, block strings, and the commands that train or export it. */
page.detail = (() => {
  const { el, byId, cost, count, score, percent, digits } = page.dom;

  const fact = (name, value) => (value ? el("div", {}, el("dt", {}, name), el("dd", {}, value)) : null);

  function facts(item) {
    const { network, arch } = item;
    const labels = page.state.payload.score_labels;
    const short = { macs: "macs", params: "parameters", acts: "activations", latency_ms: "latency", peak_memory_mib: "peak memory" };
    const seconds = network.runs.map((run) => run.train_seconds).filter((value) => value !== null);
    return el("dl", { class: "facts" },
      Object.entries(network.scores).map(([name, told]) => fact(labels[name] ?? name, score(told) + (told[2] > 1 ? `, ${told[2]} seeds` : ""))),
      network.state === "COMPLETE" ? null : fact("state", page.state.DOES[network.state] ?? network.state.toLowerCase()),
      fact("why", network.reason),
      Object.entries(short).map(([name, text]) => fact(text, cost(name, network.costs[name]))),
      fact("image size", arch ? `${arch.image_size} px` : ""),
      fact("trained for", seconds.length ? `${digits(seconds.reduce((sum, value) => sum + value, 0))} s${seconds.length > 1 ? " in all" : ""}` : ""),
      fact("trials", network.runs.map((run) => run.number).join(", ")),
      fact("arch_id", network.arch_id));
  }

  /** Costs by stage in closed form, the chosen cost's share as a bar. */
  function stageTable(arch) {
    const name = ["macs", "params", "acts"].includes(page.state.choice.cost) ? page.state.choice.cost : "macs";
    const total = arch.stages.reduce((sum, stage) => sum + stage[name], 0) || 1;
    const head = ["part", "params", "macs", "acts", `share of ${name}`];
    return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Costs by stage" },
      el("table", {}, el("thead", {}, el("tr", {}, head.map((text, at) => el("th", { scope: "col", class: at ? "number" : "text" }, text)))),
        el("tbody", {}, arch.stages.map((stage) => el("tr", {},
          el("th", { scope: "row", class: "text" }, stage.name),
          ["params", "macs", "acts"].map((each) => el("td", { class: "number" }, count(stage[each]))),
          el("td", { class: "number share" }, bar(stage[name] / total), percent(stage[name] / total, 1)))))));
  }

  function bar(share) {
    const node = el("span", { class: "bar", "aria-hidden": "true" });
    node.style.width = `${(64 * share).toFixed(1)}px`;
    return node;
  }

  function runTable(network) {
    const rows = network.runs.map((run) => [run.number, run.seed, run.score, run.steps, run.train_seconds]);
    return page.dom.table({ title: "Trainings", columns: ["trial", "seed", "score", "steps", "seconds"], rows }, false);
  }

  /** A command with a button that copies it. */
  function command(title, text) {
    const code = el("code", { tabindex: 0 }, text);
    const button = el("button", { type: "button", class: "small", onclick: () => copy(text, code, button) }, "Copy");
    return el("div", { class: "command" }, el("span", {}, title), el("pre", {}, code), button);
  }

  function copy(text, code, button) {
    const range = document.createRange();
    range.selectNodeContents(code);
    const chosen = window.getSelection();
    chosen?.removeAllRanges();
    chosen?.addRange(range);
    const told = (done) => { button.textContent = done ? "Copied" : "Selected: Ctrl-C"; setTimeout(() => { button.textContent = "Copy"; }, 1600); };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => told(true), () => told(false));
    else told(false);
  }

  function save(name, spec) {
    const link = el("a", { download: name, href: URL.createObjectURL(new Blob([JSON.stringify(spec, null, 2)], { type: "application/json" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function commands(item) {
    const { study, network, arch } = item;
    const file = `${network.arch_id}.json`, isDetector = Boolean(arch.spec.backbone);
    const classes = study.num_classes ? ` num_classes=${study.num_classes}` : "";
    const data = study.data_arguments ? ` ${study.data_arguments}` : "";
    const rows = isDetector
      ? [command("Train it", `scalesearch detect study=again detector=${file}${data}`)]
      : [command("Train it", `scalesearch train arch=${file}${data}`),
        command("Export it untrained", `scalesearch export arch=${file}${classes} image_size=${arch.image_size} to=onnx out=${network.arch_id}.onnx`),
        command("Export what the study trained", `scalesearch export ${study.arguments} to=onnx out=${study.name}.onnx`)];
    return [el("p", {}, "Save the architecture where the command runs: ",
      el("button", { type: "button", class: "small", onclick: () => save(file, arch.spec) }, `Save ${file}`)), ...rows];
  }

  function part(title, ...children) {
    const shown = children.flat().filter(Boolean);
    return shown.length ? el("section", {}, el("h4", {}, title), shown) : null;
  }

  function fold(title, isOpen, ...children) {
    return el("details", { open: isOpen }, el("summary", {}, title), ...children);
  }

  function draw() {
    const item = page.state.find(page.state.choice.selected), panel = byId("detail");
    if (!item) {
      panel.replaceChildren(el("p", { class: "hint" }, "Choose a network: click a dot, use the arrow keys on the chart, or take one from the table."));
      return;
    }
    const { network, arch } = item;
    panel.replaceChildren(...[
      el("h3", {}, page.state.nameOf(item)),
      el("p", { class: "hint" }, `${page.state.title(page.state.seriesOf(item))}${page.state.fronts().has(item.key) ? ", on its front" : ""}`),
      facts(item),
      arch ? part("The network", page.drawing.stages(arch)) : null,
      part("While it trained", page.drawing.readings(network.runs)),
      arch ? fold("Costs by stage", false, stageTable(arch)) : null,
      network.runs.length > 1 ? fold("Trainings", false, runTable(network)) : null,
      arch ? fold("Block strings", false, el("pre", { class: "blocks" }, el("code", {}, arch.blocks.split(",").join("\n")))) : null,
      arch ? fold("Train or export it", false, commands(item)) : null,
    ].filter(Boolean));
  }

  return { draw, command };
})();
