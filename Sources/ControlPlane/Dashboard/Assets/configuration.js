// Configuration: what changed, and how; objects with their status and what the analysis finds; who has acknowledged what.

import { h, table, format } from "./dom.js";
import { t } from "./texts.js";
import { load } from "./data.js";
import { objectName, whenThere } from "./administration.js";

const chosen = { key: "", from: "", to: "" };
const search = { objects: "" };
const place = (one) => [one.kind, one.namespace || "-", one.name].map(encodeURIComponent).join("/");
const objectLink = (one, text) => h("a", { href: "#/configuration/" + encodeURIComponent(place(one)) }, text);

/** `SYNCED: CDS, LDS; STALE: RDS`. */
function typesText(types) {
  const states = new Map();
  for (const [type, state] of Object.entries(types).sort()) states.set(state, [...(states.get(state) ?? []), type]);
  return [...states].map(([state, names]) => `${state}: ${names.join(", ")}`).join("; ");
}

/** Of the proxies those that have a revision: `{have, all}`. */
export const acknowledgedBy = (proxies, revision) => ({ have: proxies.filter((one) => one.acknowledged >= revision).length, all: proxies.length });

function whoHas(revision) {
  const entry = load("/skein/v1/proxies");
  if (!entry.value) return "…";
  const { have, all } = acknowledgedBy(entry.value.proxies, revision);
  return h("span", { class: have === all ? "good" : "warning" }, t("configuration.have", have, all));
}

const when = (one) => (one.what === "found" ? t("configuration.before", format.clock(one.time)) : format.clock(one.time));

function object(operand, show) {
  const [kind, space = "-", name = ""] = partsOf(operand);
  const namespace = space === "-" ? "" : space;
  if (chosen.key !== operand) Object.assign(chosen, { key: operand, from: "", to: "" });
  const items = Object.entries({ kind, namespace, name, from: chosen.from, to: chosen.to }).filter(([, value]) => value !== "");
  const chooser = (id, label, found, value) => h("label", null, label, h("select", { name: id, onchange: (event) => { chosen[id] = event.target.value; show(); } },
    found.revisions.map((one) => h("option", { value: one.revision, selected: one.revision === value }, `${one.revision} · ${when(one)}`))));
  return whenThere(load("/skein/v1/dashboard/history?" + new URLSearchParams(items)), (found) => [
    table(t("configuration.revisions"), [{ name: t("configuration.revision"), number: true }, { name: t("configuration.generation"), number: true }, { name: t("configuration.when") }, { name: t("configuration.what") }, { name: t("configuration.proxies") }],
      [...found.revisions].reverse().map((one) => ({ key: String(one.revision) + one.what, cells: [one.revision, one.generation, when(one), t("configuration." + one.what), whoHas(one.revision)] })), t("configuration.unknown")),
    found.revisions.length > 1 ? [
      h("form", { "data-key": "revisions", onsubmit: (event) => event.preventDefault() }, chooser("from", t("word.before"), found, found.from), chooser("to", t("word.after"), found, found.to)),
      table(t("configuration.difference"), [{ name: t("configuration.field"), text: true }, { name: t("word.before"), text: true }, { name: t("word.after"), text: true }],
        found.differences.map((one) => ({ key: one.field, cells: [h("code", null, one.field), one.old === null ? "-" : h("del", null, one.old), one.new === null ? "-" : h("ins", null, one.new)] })), t("configuration.same")),
    ] : found.revisions.length ? h("p", { class: "muted" }, t("configuration.one")) : null,
    h("h2", null, t("configuration.findings")),
    whenThere(load("/skein/v1/dashboard/objects"), (all) => findings(all.findings.filter((one) => one.kind === kind && one.namespace === namespace && one.name === name))),
    h("p", null, h("a", { href: "#/configuration" }, "← " + t("page.configuration"))),
  ]);
}

const findings = (found) => table(t("configuration.findings"), [{ name: t("word.severity") }, { name: t("configuration.code") }, { name: t("word.object") }, { name: t("configuration.field") }, { name: t("configuration.message"), text: true }],
  found.map((one) => ({
    key: one.code + one.kind + one.namespace + one.name + one.field + one.message,
    cells: [h("strong", { class: one.severity === "error" ? "critical" : one.severity === "warning" ? "warning" : null }, t("severity." + one.severity)), one.code, objectLink(one, `${one.kind} ${objectName(one)}`), h("code", null, one.field), one.message],
  })), "✓ " + t("configuration.findings.none"));

const partsOf = (operand) => operand.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });

/** The title of the page of an object. */
export function objectTitle(operand) {
  const [kind, space, name] = partsOf(operand);
  return t("configuration.object", `${kind} ${space && space !== "-" ? space + "/" : ""}${name ?? ""}`);
}

export function configuration({ operand, show }) {
  if (operand) return [h("h1", { tabindex: "-1" }, objectTitle(operand)), object(operand, show)];
  return [
    h("h1", { tabindex: "-1" }, t("page.configuration")),
    whenThere(load("/skein/v1/dashboard/objects"), (found) => [
      h("h2", null, t("configuration.findings")), findings(found.findings)]),
    h("h2", null, t("configuration.changes")),
    whenThere(load("/skein/v1/dashboard/history"), (found) => [
      table(t("configuration.changes"), [{ name: t("configuration.when") }, { name: t("word.object") }, { name: t("configuration.what") }, { name: t("configuration.fields"), number: true }, { name: t("configuration.revision"), number: true }, { name: t("configuration.proxies") }],
        found.changes.slice(0, 50).map((one) => ({ key: place(one) + one.revision, cells: [format.clock(one.time), objectLink(one, `${one.kind} ${objectName(one)}`), t("configuration." + one.what), one.fields, one.revision, whoHas(one.revision)] })), t("configuration.changes.none")),
      h("p", { class: "muted" }, t("configuration.kept", found.kept))]),
    whenThere(load("/skein/v1/dashboard/objects"), (found) => {
      const wanted = found.objects.filter((one) => `${one.kind} ${objectName(one)}`.toLowerCase().includes(search.objects.toLowerCase()));
      return [
        h("h2", null, t("configuration.objects")),
        h("form", { "data-key": "objects", onsubmit: (event) => event.preventDefault() }, h("label", null, t("requests.access.find"), h("input", { name: "objects", value: search.objects, spellcheck: "false", autocomplete: "off", oninput: (event) => { search.objects = event.target.value; show(); } }))),
        found.total > found.objects.length ? h("p", null, t("configuration.tooMany", found.objects.length)) : null,
        table(t("configuration.objects"), [{ name: t("word.kind") }, { name: t("word.object") }, { name: t("configuration.generation"), number: true }, { name: t("configuration.findings"), number: true }, { name: t("word.status"), text: true }],
          wanted.map((one) => ({ key: one.kind + objectName(one), cells: [one.kind, objectLink(one, objectName(one)), one.generation, found.findings.filter((other) => other.kind === one.kind && other.namespace === one.namespace && other.name === one.name).length || "-", one.conditions.map((condition) => `${condition.type}: ${condition.status}${condition.reason ? " (" + condition.reason + ")" : ""}`).join(", ") || "-"] })), "-")];
    }),
    h("h2", null, t("configuration.proxies")),
    whenThere(load("/skein/v1/convergence"), (found) => h("p", { class: found.complete ? "good" : "warning" },
      found.complete ? "✓ " + t("configuration.converged", found.revision) : t("configuration.behind", found.revision, found.waiting.length, found.proxies, found.refused.length))),
    whenThere(load("/skein/v1/proxies"), (found) => table(t("configuration.proxies"), [{ name: t("word.pod") }, { name: t("word.kind") }, { name: t("configuration.revision"), number: true }, { name: t("configuration.types") }, { name: t("configuration.refused"), text: true }],
      found.proxies.map((one, place) => ({
        key: one.namespace + "/" + one.pod + place,
        cells: [one.namespace + "/" + one.pod, `${one.role}, ${one.client}`, one.acknowledged, typesText(one.types),
          one.refused.length ? one.refused.map((refusal) => h("p", { class: "critical" }, `${refusal.type} ${refusal.resource}: ${refusal.message} ← ${refusal.sources.map((source) => `${source.kind} ${objectName(source)} ${source.field}`).join(", ")}`)) : "-"],
      })), "-")),
  ];
}
