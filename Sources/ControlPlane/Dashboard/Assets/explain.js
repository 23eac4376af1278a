// What becomes of a request, as the proxies that would decide about it say: a form, and the walk.

import { h, table } from "./dom.js";
import { t } from "./texts.js";
import { again, load, session } from "./data.js";
import { whenThere } from "./administration.js";

const blank = { from: "gateway", to: "", method: "GET", path: "/", header: "", namespace: "" };
const typed = { ...blank };
let asked = null;
let taken = "";
let version = 0;

/** A word of a shell's command line. */
export const shellWord = (text) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");

/** The command line that asks the same. */
export function explainCommand({ from, to, method, path, header, namespace }) {
  const words = ["skein", "explain", from, to, method, path];
  for (const line of (header ?? "").split("\n").map((one) => one.trim()).filter(Boolean)) words.push("--header", line);
  if (namespace) words.push("-n", namespace);
  return words.map(shellWord).join(" ");
}

/** The question that a span of a trace leads to: who asked whom for what; null for spans that went nowhere in the mesh. */
export function questionOf(span) {
  const parts = (span.attributes?.upstream_cluster ?? "").split("|");
  if (parts.length !== 4 || parts[0] !== "outbound" || !span.pod) return null;
  const [namespace, pod] = span.pod.split("/");
  return { from: pod, namespace: namespace === "default" ? "" : namespace, to: `${parts[3]}:${parts[1]}`, method: span.attributes["http.method"] ?? "GET", path: span.attributes["http.path"] || "/" };
}

/** The address of the form with a question in it. */
export const explainLink = (question) => "#/requests/" + encodeURIComponent("explain?" + new URLSearchParams(Object.entries(question).filter(([, value]) => value)));

/** Takes the question that stands in the address. */
function take(operand) {
  if (operand === taken) return;
  taken = operand;
  const wish = Object.fromEntries(new URLSearchParams(operand.slice("explain?".length)));
  for (const name of Object.keys(blank)) typed[name] = wish[name] ?? blank[name];
  asked = typed.to ? { ...typed } : null;
  version += 1;
}

function pathOf(question) {
  const items = new URLSearchParams();
  for (const name of ["from", "namespace", "to", "method", "path"]) if (question[name]) items.append(name, question[name]);
  for (const line of question.header.split("\n").map((one) => one.trim()).filter(Boolean)) items.append("header", line);
  return "/skein/v1/dashboard/explain?" + items;
}

export const sourceText = (source) => (source ? `${source.kind} ${source.namespace ? source.namespace + "/" : ""}${source.name}${source.field ? " " + source.field : ""}` : "");

function answer(found) {
  const place = (pod) => (pod ? `${pod.namespace}/${pod.pod}${pod.address ? ", " + pod.address : ""}, ${pod.serviceAccount}` : "-");
  return h("section", { "aria-live": "polite", "aria-label": t("explain.verdict") },
    h("p", { class: "verdict " + (found.answered ? "good" : "critical") }, (found.answered ? "✓ " : "✗ ") + found.verdict),
    h("p", { class: "muted" }, t("explain.cause", found.cause)),
    found.advice.length ? h("ul", null, found.advice.map((line) => h("li", null, line))) : null,
    found.origins.length ? h("p", null, t("service.provenance") + ": ", found.origins.map((origin, place) => [place ? "; " : "", h("code", null, sourceText(origin))])) : null,
    h("dl", { class: "pairs" },
      h("dt", null, t("word.source")), h("dd", null, place(found.source), found.entrance ? "; " + found.entrance : null),
      found.dns ? [h("dt", null, "DNS"), h("dd", null, found.dns.problem ?? `${found.dns.name}: ${found.dns.addresses.join(", ")}`)] : null,
      found.through ? [h("dt", null, t("explain.gateway")), h("dd", null, place(found.through))] : null,
      h("dt", null, t("word.target")), h("dd", null, place(found.destination)),
      [["outboundProblem", "explain.outbound"], ["gatewayProblem", "explain.gateway"], ["inboundProblem", "explain.inbound"], ["controlPlaneProblem", "explain.control"]].map(([name, text]) => (found[name] ? [h("dt", null, t(text)), h("dd", null, found[name])] : null))),
    table(t("explain.steps"), [{ name: t("explain.decision") }, { name: t("explain.what"), text: true }, { name: t("service.provenance"), text: true }],
      found.steps.map((step, place) => ({ key: String(place), cells: [t("explain." + step.side) + ": " + step.name.replaceAll("_", " "), "\u00a0\u00a0".repeat(step.level) + step.text, step.source ? h("code", null, sourceText(step.source)) : step.path ? h("code", null, step.path) : "-"] })), "-"));
}

export function explain(show, operand) {
  if (operand.startsWith("explain?")) take(operand);
  const field = (name, label, more) => h("label", null, label, h("input", { name, value: typed[name], spellcheck: "false", autocomplete: "off", oninput: (event) => { typed[name] = event.target.value; }, ...more }));
  const command = explainCommand(typed.to ? typed : { ...typed, to: "catalog" });
  return [
    h("h2", { id: "explain" }, t("requests.explain")),
    h("p", { class: "muted" }, t("requests.explain.why")),
    h("form", { "data-key": "explain" + version, autocomplete: "off", onsubmit: (event) => { event.preventDefault(); asked = { ...typed }; again(pathOf(asked)); show(); } },
      field("from", t("requests.from"), { required: true }), field("to", t("requests.to"), { required: true, placeholder: "catalog" }), field("path", t("requests.path")),
      h("label", null, t("requests.method"), h("select", { name: "method", onchange: (event) => { typed.method = event.target.value; } }, ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].map((name) => h("option", { value: name, selected: name === typed.method }, name)))),
      field("namespace", t("word.namespace")),
      h("label", null, t("requests.header"), h("textarea", { name: "header", rows: 2, spellcheck: "false", oninput: (event) => { typed.header = event.target.value; } }, typed.header)),
      h("button", { type: "submit" }, t("explain.ask"))),
    h("details", null, h("summary", null, t("requests.command")), h("pre", { "aria-label": t("requests.command"), tabindex: "0", role: "region" }, command)),
    asked ? (session.hasToken ? whenThere(load(pathOf(asked), true), answer) : h("p", { class: "notice", role: "alert" }, t("explain.token"))) : null,
  ];
}
