// Overview, graph, list of services, alerts: what needs no login.

import { h, s, table, format } from "./dom.js";
import { t } from "./texts.js";
import { load } from "./data.js";
import { BOX, layout, curve, middle, widthOf, stateOf } from "./layout.js";

const severityText = (severity) => h("strong", { class: severity === "info" ? null : severity === "error" ? "critical" : severity }, t("severity." + severity));
export const serviceLink = (host, text) => h("a", { href: "#/service/" + encodeURIComponent(host) }, text ?? host);
const successCell = (figures) => h("span", { class: { critical: "critical", warning: "warning" }[stateOf(figures)] }, format.percent(figures.success));

// MARK: Overview

const tile = (name, value, unit, state) => h("div", null, h("dt", null, name), h("dd", { class: state }, value, h("small", null, unit)));

function problem(one) {
  return h("li", { class: "is-" + one.severity, "data-key": one.code + one.subject + one.detail },
    severityText(one.severity), " ", t("problem." + one.code, one.subject, one.detail),
    one.action ? h("p", { class: "muted" }, t("alerts.action", one.action)) : null);
}

export function overview({ mesh, window }) {
  const golden = mesh.golden;
  const failed = golden.success === null ? null : 1 - golden.success;
  const hidden = mesh.problemCount - mesh.problems.length;
  return [
    h("h1", { tabindex: "-1" }, t("page.overview")),
    h("section", { "aria-labelledby": "wrong" },
      h("h2", { id: "wrong" }, t("overview.problems")),
      mesh.problems.length ? h("ul", { class: "problems" }, mesh.problems.map(problem)) : h("p", { class: "good" }, "✓ " + t("overview.fine")),
      hidden > 0 ? h("p", null, t("overview.more", hidden)) : null),
    h("section", { "aria-labelledby": "golden" },
      h("h2", { id: "golden" }, t("overview.golden")),
      h("dl", { class: "tiles" },
        tile(t("golden.rate"), format.rate(golden.requestsPerSecond), t("golden.rate.unit")),
        tile(t("golden.errors"), failed === null ? "-" : (failed * 100).toFixed(failed && failed < 0.001 ? 2 : 1) + " %", t("golden.errors.unit"), { critical: "critical", warning: "warning" }[stateOf(golden)]),
        tile(t("golden.latency"), format.milliseconds(golden.p95Milliseconds), "p95; " + t("golden.latency.unit", format.milliseconds(golden.p50Milliseconds), format.milliseconds(golden.p99Milliseconds))),
        tile(t("golden.saturation"), format.part(golden.processors), t("golden.saturation.unit", format.part(golden.memory)), golden.processors > 0.95 ? "warning" : null),
        tile(t("golden.proxies"), mesh.proxies.connected, t("golden.proxies.unit", mesh.proxies.unsettled, mesh.proxies.refusing), mesh.proxies.refusing ? "critical" : null)),
      h("p", { class: "muted" }, t("overview.golden.note", t("app.window." + window)))),
    h("section", { "aria-labelledby": "services" }, h("h2", { id: "services" }, t("page.services")), servicesTable(mesh)),
  ];
}

const servicesTable = (mesh) => table(t("overview.services"), [
  { name: t("word.service") }, { name: t("word.rate"), number: true }, { name: t("word.success"), number: true },
  { name: "p50", number: true }, { name: "p95", number: true }, { name: "p99", number: true },
], mesh.services.map((one) => ({
  key: one.host,
  cells: [serviceLink(one.host, one.name), format.rate(one.requestsPerSecond), successCell(one), format.milliseconds(one.p50Milliseconds), format.milliseconds(one.p95Milliseconds), format.milliseconds(one.p99Milliseconds)],
})), t("overview.noTraffic"));

export const services = ({ mesh }) => [h("h1", { tabindex: "-1" }, t("page.services")), servicesTable(mesh)];

// MARK: Graph

const MARGIN = 14;
const shorten = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const tlsText = (edge) => t(edge.mutualTLS === null ? "graph.unknown" : edge.mutualTLS ? "graph.mtls" : "graph.plain");

/** Of several lines between the same nodes (ports, subsets with the same pods) one is drawn, the sum. */
export function merged(edges) {
  const found = new Map();
  for (const edge of edges) {
    const key = edge.source + "\n" + edge.target;
    const one = found.get(key);
    if (!one) { found.set(key, { ...edge, key }); continue; }
    const all = one.requestsPerSecond + edge.requestsPerSecond;
    const part = (name) => (all > 0 && one[name] !== null && edge[name] !== null ? (one[name] * one.requestsPerSecond + edge[name] * edge.requestsPerSecond) / all : one[name] ?? edge[name]);
    one.success = part("success");
    one.p95Milliseconds = Math.max(one.p95Milliseconds ?? 0, edge.p95Milliseconds ?? 0) || null;
    one.share = one.share === null || edge.share === null ? null : one.share + edge.share;
    one.mutualTLS = one.mutualTLS === null || edge.mutualTLS === null ? one.mutualTLS ?? edge.mutualTLS : one.mutualTLS && edge.mutualTLS;
    one.requestsPerSecond = all;
  }
  return [...found.values()];
}

const lock = (x, y, isClosed) => s("g", { class: isClosed ? "lock" : "lock plain", transform: `translate(${x} ${y})` },
  s("rect", { x: 0, y: 5, width: 10, height: 7, rx: 1.5 }), s("path", { d: isClosed ? "M2 5V3a3 3 0 0 1 6 0v2" : "M2 5V2.5a3 3 0 0 1 6-1" }));

function edgeView(edge, points, label, target) {
  const state = edge.isInside ? "inside" : stateOf(edge);
  const [x, y] = middle(points);
  const failed = edge.success === null ? 0 : 1 - edge.success;
  const words = [format.rate(edge.requestsPerSecond) + "/s"];
  if (edge.share !== null) words.push(format.part(edge.share));
  if (failed >= 0.01) words.push("⚠ " + (failed * 100).toFixed(0) + " %");
  const line = { class: "line", d: curve(points), "stroke-width": widthOf(edge.requestsPerSecond).toFixed(2), "marker-end": `url(#arrow-${state})` };
  return s("g", { class: "edge " + state, "data-key": edge.key, "data-source": edge.source, "data-target": edge.target, "data-rate": edge.requestsPerSecond, "data-share": edge.share },
    s("path", line, s("title", null, label)),
    edge.isInside ? null : s("text", { x, y: y - 6 }, words.join(" · ")),
    edge.isInside || edge.mutualTLS === null ? null : lock(x - 5, y + 2, edge.mutualTLS), target);
}

export function graph({ mesh }) {
  const { nodes, edges } = mesh.graph;
  const drawn = merged(edges);
  const plan = layout(nodes.map((node) => node.id), drawn.map((edge) => [edge.source, edge.target]));
  const byHost = new Map(mesh.services.map((one) => [one.host, one]));
  const byWorkload = new Map(mesh.workloads.map((one) => [one.namespace + "/" + one.workload, one]));
  const labelOf = new Map(nodes.map((node) => [node.id, node.label]));
  const textOf = (edge) => t("graph.edge", labelOf.get(edge.source), labelOf.get(edge.target), format.rate(edge.requestsPerSecond), format.percent(edge.success), format.milliseconds(edge.p95Milliseconds), tlsText(edge));
  const [width, height] = [plan.width + 2 * MARGIN, plan.height + 2 * MARGIN];
  const picture = s("svg", { class: "graph", width, height, viewBox: `${-MARGIN} ${-MARGIN} ${width} ${height}`, role: "group", "aria-label": t("graph.label", nodes.length, drawn.length) },
    s("defs", null, ["good", "idle", "warning", "critical", "inside"].map((state) => s("marker", { id: "arrow-" + state, viewBox: "0 0 10 10", refX: 9, refY: 5, markerUnits: "userSpaceOnUse", markerWidth: 11, markerHeight: 11, orient: "auto-start-reverse" },
      s("path", { class: "m-" + state, d: "M0 0L10 5L0 10z" })))),
    drawn.map((edge) => plan.ways.has(edge.key) && edgeView(edge, plan.ways.get(edge.key), textOf(edge))),
    nodes.map((node) => {
      const place = plan.nodes.get(node.id);
      const figures = byWorkload.get(node.id) ?? byHost.get(node.host) ?? null;
      const rate = figures ? format.rate(figures.requestsPerSecond) : "-";
      const label = t("graph.node", node.label, node.namespace || "-", rate, format.percent(figures?.success));
      const state = figures && ["warning", "critical"].includes(stateOf(figures)) ? " bad" : "";
      const box = [
        s("rect", { class: "box", width: BOX.width, height: BOX.height, rx: 8 }),
        s("text", { class: "name", x: 10, y: 21 }, shorten(node.label, 22)),
        s("text", { class: "small", x: 10, y: 38 }, shorten(node.namespace || node.host, 26)),
        s("text", { class: "small", x: 10, y: 54 }, (figures ? rate + "/s · " + format.milliseconds(figures.p95Milliseconds) : "") + (node.pods !== null ? (figures ? " · " : "") + t("graph.podCount", node.pods) : "")),
      ];
      const look = { class: node.kind + state, "data-key": node.id, "data-node": node.id, transform: `translate(${place.x} ${place.y})` };
      return node.host ? s("a", { ...look, href: "#/service/" + encodeURIComponent(node.host), "aria-label": label }, box) : s("g", look, s("title", null, label), box);
    }));
  const rows = drawn.filter((edge) => !edge.isInside).map((edge) => ({
    key: edge.key,
    cells: [labelOf.get(edge.source), edge.host ? serviceLink(edge.host, labelOf.get(edge.target)) : labelOf.get(edge.target), format.rate(edge.requestsPerSecond), edge.share === null ? "-" : format.part(edge.share), successCell(edge), format.milliseconds(edge.p95Milliseconds), tlsText(edge)],
  }));
  return [
    h("h1", { tabindex: "-1" }, t("page.graph")),
    nodes.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("page.graph") }, picture) : h("p", { class: "muted" }, t("overview.noTraffic")),
    h("p", { class: "muted" }, t("graph.legend")),
    table(t("graph.edges"), [{ name: t("word.source") }, { name: t("word.target") }, { name: t("word.rate"), number: true }, { name: t("word.share"), number: true }, { name: t("word.success"), number: true }, { name: "p95", number: true }, { name: t("word.mtls") }], rows, t("overview.noTraffic")),
  ];
}

// MARK: Alerts

/** Where the evidence of an alert is: the page of its service, or of what it is about. */
export function evidenceOf(labels) {
  if (labels.destination_service) return "#/service/" + encodeURIComponent(labels.destination_service);
  if (/Certificate/.test(labels.alertname)) return "#/certificates";
  if (/Configuration|Converged|Proxy/.test(labels.alertname)) return "#/configuration";
  if (/Address|DNS|Clock|Node/.test(labels.alertname)) return "#/network";
  return "#/graph";
}

const active = (one) => h("li", { class: "is-" + (one.silenced || one.inhibited ? "info" : one.labels.severity ?? "info"), "data-key": JSON.stringify(one.labels) },
  h("strong", null, one.labels.alertname), " (", t("alerts.state." + one.state), one.silenced ? ", " + t("alerts.silenced") : null, one.inhibited ? ", " + t("alerts.inhibited") : null, ") ", one.annotations?.summary ?? "",
  one.annotations?.action ? h("p", null, t("alerts.action", one.annotations.action)) : null,
  h("p", { class: "muted" }, t("word.since") + " " + one.activeAt + "; " + t("alerts.value", one.value)),
  h("p", null, h("a", { href: evidenceOf(one.labels) }, t("alerts.evidence")), one.query ? [": ", h("code", null, one.query)] : null));

export function alerts({ mesh }) {
  const rules = load("/api/v1/rules");
  return [
    h("h1", { tabindex: "-1" }, t("page.alerts")),
    h("h2", null, t("alerts.active")),
    mesh.alerts?.length ? h("ul", { class: "problems" }, mesh.alerts.map(active)) : h("p", { class: "good" }, "✓ " + t("alerts.none")),
    h("p", { class: "muted" }, t("alerts.silencing")),
    h("h2", null, t("alerts.rules")),
    rules.value ? table(t("alerts.rules"), [{ name: t("word.name") }, { name: t("word.status") }, { name: t("alerts.query"), text: true }, { name: t("alerts.health"), text: true }],
      rules.value.data.groups.flatMap((group) => group.rules.map((rule) => ({
        key: group.file + group.name + rule.name,
        cells: [rule.name, t("alerts.state." + rule.state), h("code", null, rule.query), rule.lastError ?? rule.health],
      }))), "-") : h("p", null, rules.error ? t("word.failed", rules.error.message) : t("word.loading")),
  ];
}
