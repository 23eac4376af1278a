// One service: rate, errors, latency, versions, callers; for administrators its routes and endpoints.

import { h, table, format } from "./dom.js";
import { t } from "./texts.js";
import { load, instant, range, quoted, session, spanOf } from "./data.js";
import { lines, heat } from "./charts.js";
import { tokenForm, whenThere } from "./administration.js";

const requests = "skein_edge_requests_total";
const bucket = "skein_edge_duration_milliseconds_bucket";

const chart = (title, entry, draw) => h("div", null, h("h2", null, title), entry.value ? draw(entry.value) : h("p", null, entry.error ? t("word.failed", entry.error.message) : t("word.loading")));

function parts(title, name, mesh, host, label) {
  const sums = new Map();
  for (const edge of mesh.graph.edges) {
    if (edge.isInside || edge.host !== host) continue;
    const key = label(edge);
    const one = sums.get(key) ?? { rate: 0, failed: 0, p95: null };
    one.rate += edge.requestsPerSecond;
    one.failed += edge.requestsPerSecond * (1 - (edge.success ?? 1));
    one.p95 = Math.max(one.p95 ?? 0, edge.p95Milliseconds ?? 0) || null;
    sums.set(key, one);
  }
  const all = [...sums.values()].reduce((sum, one) => sum + one.rate, 0);
  return table(title, [{ name }, { name: t("word.rate"), number: true }, { name: t("word.share"), number: true }, { name: t("word.success"), number: true }, { name: "p95", number: true }],
    [...sums].sort().map(([key, one]) => ({ key, cells: [key, format.rate(one.rate), all > 0 ? format.part(one.rate / all) : "-", one.rate > 0 ? format.percent(1 - one.failed / one.rate) : "-", format.milliseconds(one.p95)] })),
    t("overview.noTraffic"));
}

export function service({ mesh, window, operand: host }) {
  const labels = `{reporter="source",destination_service=${quoted(host)}}`;
  const [, step] = spanOf(window);
  const back = Math.max(60, 2 * step) + "s";
  const of = (query) => range(query, mesh.time, window);
  const codes = of(`sum by (response_code) (rate(${requests}${labels}[${back}]))`);
  const failed = of(`sum(rate(${requests}{reporter="source",destination_service=${quoted(host)},response_code!~"[1234].*"}[${back}])) / sum(rate(${requests}${labels}[${back}])) or sum(rate(${requests}${labels}[${back}])) * 0`);
  const quantiles = [0.5, 0.95, 0.99].map((share) => of(`histogram_quantile(${share}, sum by (le) (rate(${bucket}${labels}[${back}])))`));
  const buckets = of(`sum by (le) (increase(${bucket}${labels}[${step * 2}s]))`);
  const latency = { error: quantiles.find((one) => one.error)?.error, value: quantiles.every((one) => one.value) ? quantiles.map((one, place) => ({ name: ["p50", "p95", "p99"][place], points: (one.value[0]?.points ?? []).filter(([, value]) => Number.isFinite(value)) })) : null };
  const health = ["", "_healthy", "_ejected"].map((suffix) => instant(`${suffix === "_ejected" ? "sum" : "max"}(skein_edge_endpoints${suffix}{destination_service=${quoted(host)}})`, mesh.time));
  const count = (entry) => (entry.value ? entry.value[0]?.value ?? 0 : "…");
  return [
    h("h1", { tabindex: "-1" }, t("page.service", host)),
    h("p", null, t("service.health", ...health.map(count))),
    h("div", { class: "columns" },
      chart(t("service.rate"), codes, (value) => lines(t("service.rate"), value.map((one) => ({ name: one.labels.response_code ?? "", points: one.points })).sort((one, other) => (one.name < other.name ? -1 : 1)), format.rate)),
      chart(t("service.errors"), failed, (value) => lines(t("service.errors"), value.map((one) => ({ name: t("word.errors"), points: one.points })), (share) => (share * 100).toFixed(1) + " %", { top: value.some((one) => one.points.some(([, share]) => share > 0.1)) ? 1 : 0.1 })),
      chart(t("service.latency"), latency, (value) => lines(t("service.latency"), value, format.milliseconds)),
      chart(t("service.heat"), buckets, (value) => heat(t("service.heat"), value))),
    h("h2", null, t("service.versions")),
    parts(t("service.versions"), t("word.version"), mesh, host, (edge) => edge.subset || edge.target.split("/").pop()),
    h("h2", null, t("service.callers")),
    parts(t("service.callers"), t("word.caller"), mesh, host, (edge) => edge.source),
    h("h2", null, t("service.routes")),
    session.hasToken ? whenThere(load("/skein/v1/dashboard/service?host=" + encodeURIComponent(host)), (found) => details(found, load("/skein/v1/dashboard/endpoints?host=" + encodeURIComponent(host)))) : tokenForm(),
  ];
}

/** What callers see of an address, all its ports together; null when none has it. */
export function viewOf(seen, address) {
  const found = seen.filter((one) => one.ip === address);
  const sum = (name) => found.reduce((all, one) => all + one[name], 0);
  return found.length ? Object.fromEntries(["activeRequests", "activeConnections", "requests", "errors", "views", "ejected", "unhealthy"].map((name) => [name, sum(name)])) : null;
}

function details(found, seen) {
  const views = seen.value?.endpoints ?? [];
  const cell = (one, show) => { const view = viewOf(views, one.address); return view ? show(view) : seen.value || seen.error ? "-" : "…"; };
  return [
    h("p", { class: "muted" }, found.caller ? t("service.routes.of", found.caller) : ""),
    table(t("service.routes"), [{ name: t("service.match"), text: true }, { name: t("service.action"), text: true }, { name: t("service.provenance"), text: true }],
      found.routes.map((route, place) => ({ key: String(place), cells: [h("code", null, route.match), h("code", null, route.action), route.source ? `${route.source.kind} ${route.source.namespace}/${route.source.name}: ${route.source.field}` : "-"] })), t("service.routes.none")),
    h("h2", null, t("service.endpoints")),
    seen.error ? h("p", { class: "muted" }, t("service.unseen", seen.error.message)) : null,
    seen.value ? h("p", { class: "muted" }, t("service.seen", seen.value.callers, seen.value.asked, seen.value.proxies)) : null,
    table(t("service.endpoints"), [{ name: t("word.address") }, { name: t("word.pod") }, { name: t("word.node") }, { name: t("word.version") }, { name: t("word.ready") }, { name: t("service.state") }, { name: t("service.active"), number: true }, { name: t("service.connections"), number: true }, { name: t("service.total"), number: true }, { name: t("word.errors"), number: true }],
      found.endpoints.map((one) => ({ key: one.address + one.pod, cells: [h("code", null, one.address), one.pod || "-", one.node || "-", one.version || "-", one.ready ? t("word.yes") : h("strong", { class: "warning" }, t("word.no")),
        cell(one, (view) => (view.ejected ? h("strong", { class: "critical" }, t("service.ejected", view.ejected, view.views)) : view.unhealthy ? h("strong", { class: "warning" }, t("service.unhealthy", view.unhealthy, view.views)) : h("span", { class: "good" }, t("service.healthy")))),
        cell(one, (view) => view.activeRequests), cell(one, (view) => view.activeConnections), cell(one, (view) => view.requests), cell(one, (view) => view.errors)] })), t("service.endpoints.none")),
  ];
}
