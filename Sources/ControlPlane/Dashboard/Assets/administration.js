// Configuration, network, certificates: for administrators. And the form that asks for the token.

import { h, table } from "./dom.js";
import { t } from "./texts.js";
import { load, session } from "./data.js";

/** Asks for the token; it goes into memory and nowhere else. */
export function tokenForm() {
  return h("form", { class: "notice", "data-key": "token", autocomplete: "off", onsubmit: (event) => { event.preventDefault(); session.use(event.target.querySelector("input").value); } },
    h("p", null, t("token.why")),
    session.wasWrong ? h("p", { class: "critical", role: "alert" }, t("token.wrong")) : null,
    h("label", null, t("token.label"), h("input", { type: "password", name: "token", autocomplete: "off", spellcheck: "false", required: true })),
    h("button", { type: "submit" }, t("token.enter")));
}

/** What was asked for, or why it is not there. */
export function whenThere(entry, view) {
  if (entry.value) return view(entry.value);
  if (entry.error?.message === "401") return tokenForm();
  return h("p", null, entry.error ? t("word.failed", entry.error.message) : t("word.loading"));
}

const objectName = (one) => (one.namespace ? one.namespace + "/" : "") + one.name;
const yes = (value) => (value ? t("word.yes") : h("strong", { class: "warning" }, t("word.no")));

/** `SYNCED: CDS, LDS; STALE: RDS`. */
function typesText(types) {
  const states = new Map();
  for (const [type, state] of Object.entries(types).sort()) states.set(state, [...(states.get(state) ?? []), type]);
  return [...states].map(([state, names]) => `${state}: ${names.join(", ")}`).join("; ");
}

export function configuration() {
  return [
    h("h1", { tabindex: "-1" }, t("page.configuration")),
    whenThere(load("/skein/v1/dashboard/objects"), (found) => [
      h("h2", null, t("configuration.findings")),
      table(t("configuration.findings"), [{ name: t("word.severity") }, { name: t("configuration.code") }, { name: t("word.object") }, { name: t("configuration.field") }, { name: t("configuration.message"), text: true }],
        found.findings.map((one) => ({
          key: one.code + one.kind + one.namespace + one.name + one.field + one.message,
          cells: [h("strong", { class: one.severity === "error" ? "critical" : one.severity === "warning" ? "warning" : null }, t("severity." + one.severity)), one.code, `${one.kind} ${objectName(one)}`, h("code", null, one.field), one.message],
        })), "✓ " + t("configuration.findings.none")),
      h("h2", null, t("configuration.objects")),
      found.total > found.objects.length ? h("p", null, t("configuration.tooMany", found.objects.length)) : null,
      table(t("configuration.objects"), [{ name: t("word.kind") }, { name: t("word.object") }, { name: t("configuration.generation"), number: true }, { name: t("word.status"), text: true }],
        found.objects.map((one) => ({ key: one.kind + objectName(one), cells: [one.kind, objectName(one), one.generation, one.conditions.map((condition) => `${condition.type}: ${condition.status}${condition.reason ? " (" + condition.reason + ")" : ""}`).join(", ") || "-"] })), "-"),
    ]),
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

export function network() {
  return [
    h("h1", { tabindex: "-1" }, t("page.network")),
    whenThere(load("/skein/v1/dashboard/network"), (found) => [
      h("h2", null, t("network.nodes")),
      table(t("network.nodes"), [{ name: t("word.node") }, { name: t("word.ready") }, { name: t("word.address") }, { name: t("network.range") }, { name: t("word.pods"), number: true }],
        found.nodes.map((one) => ({ key: one.name, cells: [one.name, yes(one.ready), one.addresses.join(", "), one.podRanges.join(", ") || "-", found.pods.filter((pod) => pod.node === one.name).length] })), "-"),
      h("h2", null, t("network.services")),
      table(t("network.services"), [{ name: t("word.service") }, { name: t("word.address") }, { name: t("network.ports") }, { name: t("network.endpoints"), number: true }],
        found.services.map((one) => ({ key: objectName(one), cells: [h("a", { href: "#/service/" + encodeURIComponent(one.host) }, objectName(one)), one.addresses.join(", ") || "-", one.ports.join(", "), `${one.ready}/${one.endpoints}`] })), "-"),
      h("h2", null, t("network.pods")),
      table(t("network.pods"), [{ name: t("word.pod") }, { name: t("word.node") }, { name: t("word.address") }, { name: t("network.phase") }, { name: t("word.ready") }, { name: t("network.restarts"), number: true }],
        found.pods.map((one) => ({ key: objectName(one), cells: [objectName(one), one.node, h("code", null, one.addresses.join(", ")), one.phase, yes(one.ready), one.restarts] })), "-"),
    ]),
  ];
}

export function certificates() {
  return [
    h("h1", { tabindex: "-1" }, t("page.certificates")),
    whenThere(load("/skein/v1/dashboard/certificates"), (found) => [
      h("p", null, t("certificates.trust", found.trustDomain)),
      found.alarms.length ? [h("h2", null, t("certificates.alarms")), h("ul", { class: "problems" }, found.alarms.map((one) => h("li", { class: "is-critical" }, h("strong", null, one.subject), ": ", one.problem, h("p", { class: "muted" }, t("alerts.action", one.remedy)))))] : null,
      h("h2", null, t("certificates.authority")),
      table(t("certificates.authority"), [{ name: t("word.name") }, { name: t("certificates.stage") }, { name: t("certificates.until") }],
        [...found.roots, { ...found.intermediate, stage: "intermediate" }].map((one) => ({ key: one.stage + one.id, cells: [`${one.subject} (${one.id})`, one.stage, one.notAfter] })), "-"),
      h("h2", null, t("certificates.workloads")),
      table(t("certificates.workloads"), [{ name: t("word.pod") }, { name: t("certificates.identity"), text: true }, { name: t("certificates.until") }, { name: t("certificates.renewal") }, { name: t("certificates.health"), text: true }],
        found.workloads.map((one) => ({ key: one.namespace + "/" + one.pod, cells: [one.namespace + "/" + one.pod, one.identity, one.notAfter, one.renewal, one.problem ? h("strong", { class: "critical" }, `${one.health}: ${one.problem}`) : one.health] })), "-"),
    ]),
  ];
}
