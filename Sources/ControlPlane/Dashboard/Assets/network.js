// Network: what policies do with a connection, what the kernel has counted for them, nodes, services, pods.

import { h, table } from "./dom.js";
import { t } from "./texts.js";
import { again, load } from "./data.js";
import { objectName, whenThere, yes } from "./administration.js";

const typed = { from: "", to: "", port: "80" };
let asked = "";

function verdict(way, place) {
  const passes = way.verdict === "passes";
  return h("section", { "data-key": "way" + place, "aria-label": t("network.verdict") },
    h("p", { class: "verdict " + (passes ? "good" : "critical") }, (passes ? "✓ " : "✗ ") + t(passes ? "network.passes" : "network.dropped", way.port, way.source, way.destination)),
    way.ends.length ? table(t("network.verdict"), [{ name: t("network.end") }, { name: t("word.pod") }, { name: t("network.decision") }, { name: t("service.provenance"), text: true }, { name: t("network.selected"), text: true }, { name: t("network.counted"), number: true }],
      way.ends.map((end) => ({ key: end.direction, cells: [t("network." + end.direction), end.pod, h("strong", { class: end.allowed ? "good" : "critical" }, t(end.allowed ? "network.allowed" : "network.drops")), h("code", null, end.cause) , [end.policies.join(", ") || t("network.unselected"), end.audited ? h("p", { class: "warning" }, t("network.audited", end.audited)) : null], end.counted] })), "-")
      : h("p", { class: "muted" }, t("network.noEnds")));
}

function packet(pods, show) {
  const field = (name, label, size) => h("label", null, label, h("input", { name, list: name === "port" ? null : "podnames", value: typed[name], size, required: true, spellcheck: "false", autocomplete: "off", oninput: (event) => { typed[name] = event.target.value.trim(); } }));
  return [
    h("h2", { id: "packet" }, t("network.packet")),
    h("p", { class: "muted" }, t("network.packet.why")),
    h("form", { "data-key": "packet", autocomplete: "off", onsubmit: (event) => { event.preventDefault(); asked = "/skein/v1/dashboard/packet?" + new URLSearchParams(typed); again(asked); show(); } },
      field("from", t("network.from"), 30), field("to", t("network.to"), 30), field("port", t("network.port"), 8), h("button", { type: "submit" }, t("explain.ask"))),
    h("datalist", { id: "podnames" }, pods.map((pod) => h("option", { value: pod.name + (pod.namespace === "default" ? "" : "." + pod.namespace) }))),
    asked ? h("div", { "aria-live": "polite" }, whenThere(load(asked, true), (found) => found.ways.map(verdict))) : null,
  ];
}

export function network({ show }) {
  return [
    h("h1", { tabindex: "-1" }, t("page.network")),
    whenThere(load("/skein/v1/dashboard/network"), (found) => [
      packet(found.pods, show),
      h("h2", null, t("network.counters")),
      whenThere(load("/skein/v1/dashboard/policies"), (policies) => [
        table(t("network.counters"), [{ name: t("service.provenance"), text: true }, { name: t("network.decision") }, { name: t("network.counted"), number: true }],
          policies.counters.map((one, place) => ({ key: one.cause + one.allowed + place, cells: [h("code", null, one.cause), h("strong", { class: one.allowed ? "good" : "critical" }, t(one.allowed ? "network.allowed" : "network.drops")), one.packets] })), t("network.counters.none")),
        policies.flows.length ? table(t("network.flows"), [{ name: t("network.flow"), text: true }, { name: t("network.decision") }],
          policies.flows.slice(0, 100).map((one, place) => ({ key: one.flow + place, cells: [h("code", null, one.flow), one.dropped ? h("strong", { class: "critical" }, t("network.drops")) : t("network.audit")] })), "-") : null]),
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
