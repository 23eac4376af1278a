// Certificates; and what the pages for administrators share: the form that asks for the token, answers that are not there yet.

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

export const objectName = (one) => (one.namespace ? one.namespace + "/" : "") + one.name;
export const yes = (value) => (value ? t("word.yes") : h("strong", { class: "warning" }, t("word.no")));

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
