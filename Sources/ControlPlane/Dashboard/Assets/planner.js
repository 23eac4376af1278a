// What the planner predicts: a table, and latency over load.

import { h, table, format } from "./dom.js";
import { t } from "./texts.js";
import { load } from "./data.js";
import { lines } from "./charts.js";
import { whenThere } from "./administration.js";

let change = "";
let typed = "";

function prediction(found) {
  if (found.refusal) return h("p", { class: "notice" }, t("planner.refused", found.refusal));
  const busiest = found.workloads.filter((one) => one.utilisation !== null).sort((one, other) => other.utilisation - one.utilisation)[0];
  return [
    table(t("planner.table"), [{ name: t("word.workload") }, { name: t("word.rate"), number: true }, { name: t("planner.busy"), number: true }, { name: t("planner.now"), number: true }, { name: t("planner.then"), number: true }, { name: "p99", number: true }, { name: t("planner.inside"), number: true }, { name: t("planner.capacity"), number: true }, { name: t("planner.error"), number: true }],
      found.workloads.map((one) => ({
        key: one.name,
        cells: [one.name, format.rate(one.requestsPerSecond), format.part(one.utilisation), format.milliseconds(one.nowMilliseconds), format.milliseconds(one.meanMilliseconds), format.milliseconds(one.p99Milliseconds), one.inside.toFixed(2), one.capacity === null ? "-" : format.rate(one.capacity), format.part(one.error)],
      })), "-"),
    busiest ? h("p", null, t("planner.bottleneck", busiest.name)) : null,
    h("h2", null, t("planner.plot")),
    lines(t("planner.plot"), found.curve.map((one) => ({ name: one.name, points: one.points })), format.milliseconds, { isTime: false }),
    found.notes.length ? [h("h2", null, t("planner.notes")), h("ul", null, found.notes.map((note) => h("li", null, note)))] : null,
  ];
}

export function planner({ window, show }) {
  const span = Math.max(300, window);
  return [
    h("h1", { tabindex: "-1" }, t("page.planner")),
    h("form", { onsubmit: (event) => { event.preventDefault(); change = typed.trim(); show(); } },
      h("label", null, t("planner.change"), h("input", { name: "change", size: 34, value: typed, spellcheck: "false", oninput: (event) => { typed = event.target.value; } })),
      h("button", { type: "submit" }, t("planner.ask"))),
    h("p", { class: "muted" }, t("planner.change.help")),
    whenThere(load(`/skein/v1/dashboard/plan?window=${span}` + (change ? "&what-if=" + encodeURIComponent(change) : "")), prediction),
  ];
}
