// Requests: the traces that are stored, the access log, and what would become of a request.

import { h, s, table, format } from "./dom.js";
import { t } from "./texts.js";
import { again, load, session } from "./data.js";
import { tokenForm, whenThere } from "./administration.js";
import { explain, explainLink, questionOf } from "./explain.js";

const microseconds = (value) => format.milliseconds(value / 1000);
const wish = { service: "", status: "", min: "", max: "", errors: false };
const statusText = (one) => [one.status || "-", ...(Array.isArray(one.flags) ? one.flags : [one.flags ?? ""])].join(" ").trim();
const hasFailed = (one) => one.status >= 500 || one.status === 0 || !["", "DI", "RFCF"].includes(String(one.flags ?? ""));

/** Where a span's bar begins and how wide it is, as shares of the trace; what clocks put outside is cut. */
export function bar(span, duration) {
  const all = Math.max(1, duration);
  const begin = Math.min(1, Math.max(0, span.offsetMicroseconds / all));
  const end = Math.min(1, Math.max(begin, (span.offsetMicroseconds + span.durationMicroseconds) / all));
  return { begin, width: end - begin };
}

/** What the mesh itself did in a span, in words: waiting, tries, TLS, circuit breakers; each with its time. */
export function eventTexts(span) {
  const found = [];
  if (span.attributes.downstream_tls) found.push({ text: t("event.accepted", span.attributes.downstream_tls) });
  for (const event of span.events) {
    const told = event.attributes ?? {};
    const text = { connection: () => t(told.upstream_tls ? "event.tls" : "event.plain", told.upstream_address ?? "", microseconds(Number(told.waited_us ?? 0)), told.upstream_tls ?? ""), retry: () => t("event.retry", told.attempt ?? ""), "circuit breaker": () => t("event.breaker", told.upstream_cluster ?? ""),
      "connection failed": () => t("event.failed", told.reason ?? ""), "request sent": () => t("event.sent"), "response begun": () => t("event.begun") }[event.name]?.() ?? event.name;
    found.push({ text, at: event.offsetMicroseconds, name: event.name, waited: Number(told.waited_us ?? 0) });
  }
  if (span.attributes.policy) found.push({ text: span.attributes.policy });
  if (span.attributes.response_code_details && span.error) found.push({ text: span.attributes.response_code_details });
  return found;
}

// MARK: Traces

const WIDTH = 360;
const MARKS = { retry: "M-4 6L0 -2L4 6Z", "circuit breaker": "M-4 -4L4 4M4 -4L-4 4", "connection failed": "M-4 -4L4 4M4 -4L-4 4", connection: "M0 -6V6" };

function picture(span, duration) {
  const { begin, width } = bar(span, duration);
  const place = (offset) => (Math.min(1, Math.max(0, offset / Math.max(1, duration))) * (WIDTH - 2)).toFixed(1);
  const events = eventTexts(span);
  return s("svg", { width: WIDTH, height: 16, viewBox: `0 0 ${WIDTH} 16`, role: "img", "aria-label": t("requests.bar", microseconds(span.offsetMicroseconds), microseconds(span.durationMicroseconds)) },
    s("path", { class: "bar-line", d: `M0 8H${WIDTH}` }),
    s("rect", { class: span.error ? "bar bad" : "bar", x: (begin * (WIDTH - 2)).toFixed(1), y: 2, width: Math.max(2, width * (WIDTH - 2)).toFixed(1), height: 12, rx: 2 }),
    events.filter((one) => one.name === "connection" && one.waited > 0).map((one) => s("rect", { class: "queue", x: place(one.at - one.waited), y: 6, width: Math.max(1, place(one.at) - place(one.at - one.waited)).toFixed(1), height: 4 }, s("title", null, one.text))),
    events.filter((one) => MARKS[one.name]).map((one) => s("path", { class: "mark", d: MARKS[one.name], transform: `translate(${place(one.at)} 8)` }, s("title", null, one.text))));
}

function trace(found, show) {
  const spans = found.spans;
  const pods = [...new Set(spans.map((span) => span.pod).filter(Boolean))];
  const ids = new Set(spans.map((span) => span.attributes["guid:x-request-id"]).filter(Boolean));
  const [since, until] = [found.startMicroseconds / 1000 - 100, (found.startMicroseconds + found.durationMicroseconds) / 1000 + 100].map(Math.round);
  const first = spans.map(questionOf).find((one) => one);
  return [
    h("p", null, t("requests.waterfall", found.spanCount, microseconds(found.durationMicroseconds)), " ", h("strong", { class: found.errors ? "critical" : "good" }, found.errors ? t("requests.failures", found.errors) : "✓"), found.complete ? null : " " + t("requests.incomplete")),
    first ? h("p", null, h("a", { href: explainLink(first), class: "explain" }, t("requests.explain.this"))) : null,
    table(t("requests.trace", found.traceId.slice(0, 8)), [{ name: t("word.service") }, { name: t("requests.operation") }, { name: t("requests.started"), number: true }, { name: t("requests.duration"), number: true }, { name: t("word.status") }, { name: t("requests.waterfall.picture") }, { name: t("requests.events"), text: true }, { name: t("requests.explain") }],
      spans.map((span, place) => {
        const question = questionOf(span);
        return {
          key: span.spanId + place,
          cells: ["\u00a0\u00a0".repeat(span.depth) + (span.orphan ? "? " : "") + span.service, `${span.name} (${span.kind})`, microseconds(span.offsetMicroseconds), microseconds(span.durationMicroseconds),
            h("span", { class: span.error ? "critical" : null }, statusText(span)), picture(span, found.durationMicroseconds),
            h("ul", { class: "events" }, eventTexts(span).map((one) => h("li", null, one.text, one.at === undefined ? "" : ` +${microseconds(one.at)}`)), span.skewMicroseconds ? h("li", null, t("requests.skew", microseconds(Math.abs(span.skewMicroseconds)))) : null),
            question ? h("a", { href: explainLink(question), "aria-label": t("requests.explain.span", span.service, question.to) }, t("requests.explain.short")) : "-"],
        };
      }), "-"),
    h("h2", { id: "access" }, t("requests.access.of")),
    session.hasToken ? whenThere(load("/skein/v1/dashboard/access?" + new URLSearchParams([...pods.map((pod) => ["pod", pod]), ["since", since], ["until", until]]), true), (page) => accessTable(page, (line) => !line.requestId || ids.has(line.requestId))) : tokenForm(),
    h("p", null, h("a", { href: "#/requests" }, "← " + t("requests.traces"))),
  ];
}

function traces(show) {
  const items = Object.entries({ service: wish.service, min: wish.min, max: wish.max, status: wish.status || (wish.errors ? "error" : ""), limit: "50" }).filter(([, value]) => value);
  const entry = load("/skein/v1/traces?" + new URLSearchParams(items));
  const field = (name, label) => h("label", null, label, h("input", { name, value: wish[name], size: 14, spellcheck: "false", autocomplete: "off", onchange: (event) => { wish[name] = event.target.value.trim(); show(); } }));
  if (entry.error && [401, 404, 503].includes(entry.error.status ?? Number(entry.error.message))) return h("p", { class: "notice" }, t("requests.traces.off"));
  return [
    h("form", { "data-key": "traces", onsubmit: (event) => event.preventDefault() },
      field("service", t("word.service")), field("min", t("requests.atLeast")), field("max", t("requests.atMost")), field("status", t("requests.status")),
      h("label", null, h("input", { type: "checkbox", name: "errors", checked: wish.errors, onchange: (event) => { wish.errors = event.target.checked; show(); } }), t("requests.errorsOnly"))),
    h("form", { "data-key": "id", onsubmit: (event) => { event.preventDefault(); const id = event.target.querySelector("input").value.trim().toLowerCase(); if (/^[0-9a-f]{4,32}$/.test(id)) location.hash = "#/requests/" + id; } },
      h("label", null, t("requests.id"), h("input", { name: "id", size: 34, pattern: "[0-9a-fA-F]{4,32}", spellcheck: "false", autocomplete: "off" })), h("button", { type: "submit" }, t("requests.find"))),
    entry.value ? table(t("requests.traces"), [{ name: t("requests.trace.id") }, { name: t("requests.started") }, { name: t("word.service") }, { name: t("requests.operation"), text: true }, { name: t("requests.duration"), number: true }, { name: t("requests.spans"), number: true }, { name: t("word.status") }],
      entry.value.traces.map((one) => ({
        key: one.traceId,
        cells: [h("a", { href: "#/requests/" + one.traceId }, one.traceId.slice(0, 8)), format.clock(one.startMicroseconds / 1e6), one.service, `${one.method} ${one.path}`.trim() || one.name, microseconds(one.durationMicroseconds), one.spans, h("span", { class: one.errors ? "critical" : null }, statusText(one))],
      })), t("requests.traces.none")) : h("p", { class: entry.error ? "critical" : null, role: entry.error ? "alert" : null }, entry.error ? t("word.failed", entry.error.message) : t("word.loading")),
  ];
}

// MARK: Access log

const LOG = "/skein/v1/dashboard/access";
const filter = { text: "", errors: false };

/** Whether a line is wanted: every word of the text is in it. */
export function isWanted(line, { text, errors }) {
  if (errors && !hasFailed(line)) return false;
  const whole = [line.pod, line.method, line.path, line.authority, line.status, line.flags, line.upstream, line.requestId].join(" ").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => whole.includes(word));
}

function accessTable(page, wanted) {
  const lines = page.lines.filter(wanted);
  return [
    page.problems.map((problem) => h("p", { class: "warning" }, problem)),
    page.asked < page.proxies ? h("p", null, t("requests.access.some", page.asked, page.proxies)) : null,
    table(t("requests.access"), [{ name: t("requests.started") }, { name: t("word.pod") }, { name: t("requests.operation"), text: true }, { name: t("word.status") }, { name: t("requests.duration"), number: true }, { name: t("word.target") }, { name: t("requests.access.from") }],
      lines.slice(0, 200).map((line, place) => ({
        key: `${line.timeMilliseconds} ${line.pod} ${place}`,
        cells: [`${format.clock(line.timeMilliseconds / 1000)}.${String(line.timeMilliseconds % 1000).padStart(3, "0")}`, line.pod, `${line.method} ${line.authority}${line.path}`, h("span", { class: hasFailed(line) ? "critical" : null }, statusText(line)), format.milliseconds(line.durationMilliseconds), line.upstream || "-", t("requests.from." + line.from)],
      })), t("requests.access.none")),
  ];
}

function access(show) {
  return [
    h("h2", { id: "access" }, t("requests.access")),
    h("p", { class: "muted" }, t("requests.access.why")),
    session.hasToken ? [
      h("form", { "data-key": "access", onsubmit: (event) => event.preventDefault() },
        h("label", null, t("requests.access.find"), h("input", { name: "find", value: filter.text, size: 34, spellcheck: "false", autocomplete: "off", oninput: (event) => { filter.text = event.target.value; show(); } })),
        h("label", null, h("input", { type: "checkbox", name: "failed", checked: filter.errors, onchange: (event) => { filter.errors = event.target.checked; show(); } }), t("requests.errorsOnly"))),
      h("p", null, h("button", { type: "button", onclick: () => { again(LOG); show(); } }, t("requests.access.again"))),
      whenThere(load(LOG, true), (page) => accessTable(page, (line) => isWanted(line, filter))),
    ] : tokenForm(),
  ];
}

/** The title of the page of a trace, or with a question in it. */
export const requestTitle = (operand) => (operand.startsWith("explain?") ? t("requests.explain") : t("requests.trace", operand.slice(0, 8)));

export function requests({ show, operand }) {
  if (operand && !operand.startsWith("explain?")) return [h("h1", { tabindex: "-1" }, requestTitle(operand)), whenThere(load("/skein/v1/traces/" + encodeURIComponent(operand)), (found) => trace(found, show))];
  const parts = [[h("h2", null, t("requests.traces")), traces(show)], explain(show, operand), access(show)];
  // Who comes with a question sees its answer first.
  if (operand) parts.unshift(parts.splice(1, 1)[0]);
  return [h("h1", { tabindex: "-1" }, t("page.requests")), parts];
}
