// Requests: the command that explains one, and the traces that are stored.

import { h, s, table, format } from "./dom.js";
import { t } from "./texts.js";
import { load } from "./data.js";

const asked = { from: "deployment/web", to: "catalog", method: "GET", path: "/", header: "" };

/** A word of a shell's command line. */
export const shellWord = (text) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");

/** The command line that asks the proxies. */
export function explainCommand({ from, to, method, path, header }) {
  const words = ["skein", "explain", from, to, method, path];
  if (header) words.push("--header", header);
  return words.map(shellWord).join(" ");
}

function explain(show) {
  const field = (name, label) => h("label", null, label, h("input", { name, value: asked[name], spellcheck: "false", oninput: (event) => { asked[name] = event.target.value; show(); } }));
  return [
    h("h2", null, t("requests.explain")),
    h("form", { onsubmit: (event) => event.preventDefault() },
      field("from", t("requests.from")), field("to", t("requests.to")), field("path", t("requests.path")),
      h("label", null, t("requests.method"), h("select", { name: "method", onchange: (event) => { asked.method = event.target.value; show(); } }, ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].map((name) => h("option", { value: name, selected: name === asked.method }, name)))),
      field("header", t("requests.header"))),
    h("p", null, t("requests.explain.why")),
    h("pre", { "aria-label": t("requests.command"), tabindex: "0", role: "region" }, explainCommand(asked)),
  ];
}

// MARK: Traces

const microseconds = (value) => format.milliseconds(value / 1000);
const wish = { service: "", status: "", min: "" };

/** Where a span's bar begins and how wide it is, as shares of the trace; what clocks put outside is cut. */
export function bar(span, duration) {
  const all = Math.max(1, duration);
  const begin = Math.min(1, Math.max(0, span.offsetMicroseconds / all));
  const end = Math.min(1, Math.max(begin, (span.offsetMicroseconds + span.durationMicroseconds) / all));
  return { begin, width: end - begin };
}

const statusText = (one) => [one.status ?? "-", ...(one.flags ?? [])].join(" ");
const WIDTH = 360;

function trace(id) {
  const entry = load("/skein/v1/traces/" + encodeURIComponent(id));
  if (!entry.value) return h("p", null, entry.error ? t("word.failed", entry.error.message) : t("word.loading"));
  const found = entry.value;
  return [
    h("p", null, t("requests.waterfall", found.spanCount, microseconds(found.durationMicroseconds))),
    table(t("requests.trace", id), [{ name: t("word.service") }, { name: t("requests.operation") }, { name: t("requests.duration"), number: true }, { name: t("word.status") }, { name: "" }, { name: t("requests.events"), text: true }],
      found.spans.map((span, place) => {
        const { begin, width } = bar(span, found.durationMicroseconds);
        return {
          key: span.spanId + place,
          cells: ["\u00a0\u00a0".repeat(span.depth) + (span.orphan ? "? " : "") + span.service, `${span.name} (${span.kind})`, microseconds(span.durationMicroseconds),
            h("span", { class: span.error ? "critical" : null }, statusText(span)),
            s("svg", { width: WIDTH, height: 16, viewBox: `0 0 ${WIDTH} 16`, role: "img", "aria-label": `${microseconds(span.offsetMicroseconds)} + ${microseconds(span.durationMicroseconds)}` },
              s("path", { class: "bar-line", d: `M0 8H${WIDTH}` }),
              s("rect", { class: span.error ? "bar bad" : "bar", x: (begin * (WIDTH - 2)).toFixed(1), y: 2, width: Math.max(2, width * (WIDTH - 2)).toFixed(1), height: 12, rx: 2 })),
            span.events.map((event) => `${event.name} +${microseconds(event.offsetMicroseconds)}`).join(", ") || "-"],
        };
      }), "-"),
    h("p", null, h("a", { href: "#/requests" }, "← " + t("requests.traces"))),
  ];
}

function traces(show) {
  const entry = load("/skein/v1/traces?" + new URLSearchParams(Object.entries({ ...wish, limit: "50" }).filter(([, value]) => value)).toString());
  const field = (name, label) => h("label", null, label, h("input", { name, value: wish[name], size: 14, spellcheck: "false", onchange: (event) => { wish[name] = event.target.value.trim(); show(); } }));
  const isOff = entry.error && [401, 404, 503].includes(entry.error.status ?? Number(entry.error.message));
  if (isOff) return h("p", { class: "notice" }, t("requests.traces.off"));
  return [
    h("form", { onsubmit: (event) => event.preventDefault() },
      field("service", t("word.service")), field("min", t("requests.atLeast")), field("status", t("requests.status"))),
    entry.value ? table(t("requests.traces"), [{ name: t("requests.started") }, { name: t("word.service") }, { name: t("requests.operation"), text: true }, { name: t("requests.duration"), number: true }, { name: t("requests.spans"), number: true }, { name: t("word.status") }],
      entry.value.traces.map((one) => ({
        key: one.traceId,
        cells: [h("a", { href: "#/requests/" + one.traceId }, format.clock(one.startMicroseconds / 1e6), " ", one.traceId.slice(0, 8)), one.service, `${one.method} ${one.path}`.trim() || one.name, microseconds(one.durationMicroseconds), one.spans, h("span", { class: one.errors ? "critical" : null }, statusText(one))],
      })), t("requests.traces.none")) : h("p", null, entry.error ? t("word.failed", entry.error.message) : t("word.loading")),
  ];
}

export function requests({ show, operand }) {
  if (operand) return [h("h1", { tabindex: "-1" }, t("requests.trace", operand.slice(0, 8))), trace(operand)];
  return [h("h1", { tabindex: "-1" }, t("page.requests")), h("h2", null, t("requests.traces")), traces(show), explain(show)];
}
