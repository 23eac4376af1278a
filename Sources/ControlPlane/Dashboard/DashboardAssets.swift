// swift-format-ignore-file
// Made from Assets/ by tools/dashboard-assets.py; change the files there.

/// The files of the dashboard.
enum DashboardAssets {
    /// A file and what tells its versions apart.
    struct Asset: Sendable {
        var digest: String
        var text: String
    }

    /// The files by their names.
    static let all: [String: Asset] = [
        "administration.js": Asset(digest: "e9efd73d434927ce", text: ##"""
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

"""##),
        "charts.js": Asset(digest: "b65ecf979118448f", text: ##"""
// Charts as SVG. The figures' arithmetic is pure; a text says what a picture says.

import { h, s, format } from "./dom.js";
import { t } from "./texts.js";

const WIDTH = 640, HEIGHT = 170, LEFT = 62, BOTTOM = 22, TOP = 8, RIGHT = 8;
const DASHES = ["none", "7 4", "2 3", "10 3 2 3", "1 5"];

/** A number not below `value` at which an axis ends well: 1, 2 or 5 times a power of ten. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= value * 0.9999999);
}

/** From numbers to places: `from` and `to` of the numbers, `low` and `high` of the picture. */
export const scale = (from, to, low, high) => (value) => low + (to > from ? (value - from) / (to - from) : 0) * (high - low);

const timeText = (seconds, isTime) => (isTime ? format.clock(seconds).slice(0, 5) : "×" + Number(seconds.toFixed(2)));

/**
 * Lines over time (or, with `isTime` false, over load).
 * series: [{name, points}]; show: a number as text; top: the axis' end, if it is to be fixed.
 */
export function lines(title, series, show, { top, isTime = true } = {}) {
  const shown = series.filter((one) => one.points.length).slice(0, 5);
  if (!shown.length) return h("figure", null, h("p", { class: "muted" }, t("chart.empty")));
  const all = shown.flatMap((one) => one.points).filter(([, value]) => Number.isFinite(value));
  const times = all.map(([time]) => time);
  const highest = Math.max(0, ...all.map(([, value]) => value));
  const end = top ?? niceTop(highest);
  const x = scale(Math.min(...times), Math.max(...times), LEFT, WIDTH - RIGHT);
  const y = scale(0, end, HEIGHT - BOTTOM, TOP);
  const now = shown[0].points[shown[0].points.length - 1][1];
  const label = t("chart.summary", title, show(now), show(highest));
  const marks = [0, 0.5, 1].map((share) => Math.min(...times) + share * (Math.max(...times) - Math.min(...times)));
  return h("figure", { class: "figure" },
    s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      [0, 0.5, 1].map((share) => [
        s("path", { class: "axis", d: `M${LEFT} ${y(share * end)}H${WIDTH - RIGHT}` }),
        s("text", { x: LEFT - 6, y: y(share * end) + 4, "text-anchor": "end" }, show(share * end)),
      ]),
      marks.map((time, place) => s("text", { x: x(time), y: HEIGHT - 5, "text-anchor": ["start", "middle", "end"][place] }, timeText(time, isTime))),
      shown.map((one, place) => s("polyline", {
        class: "s" + place, "stroke-dasharray": DASHES[place],
        points: one.points.filter(([, value]) => Number.isFinite(value)).map(([time, value]) => `${x(time).toFixed(1)},${y(Math.min(value, end)).toFixed(1)}`).join(" "),
      }))),
    h("ul", { class: "legend" }, shown.map((one, place) => h("li", null,
      s("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" }, s("path", { class: "s" + place, "stroke-width": 3, "stroke-dasharray": DASHES[place], d: "M0 4H28" })),
      one.name, " ", h("strong", null, show(one.points[one.points.length - 1][1]))))));
}

/** Buckets that grow ("le" as Prometheus counts them) as counts of each alone: {bounds, times, counts[time][bound]}. */
export function disjoint(series) {
  const columns = series.map((one) => ({ bound: one.labels.le === "+Inf" ? Infinity : Number(one.labels.le), points: new Map(one.points) }))
    .sort((one, other) => one.bound - other.bound);
  const times = [...new Set(series.flatMap((one) => one.points.map(([time]) => time)))].sort((one, other) => one - other);
  const counts = times.map((time) => {
    let before = 0;
    return columns.map((column) => {
      const upTo = Math.max(before, column.points.get(time) ?? before);
      const own = upTo - before;
      before = upTo;
      return own;
    });
  });
  return { bounds: columns.map((column) => column.bound), times, counts };
}

/** A heat map of latencies: columns are times, rows are buckets. */
export function heat(title, series) {
  const { bounds, times, counts } = disjoint(series);
  const used = bounds.map((_, row) => counts.some((column) => column[row] > 0));
  const low = used.indexOf(true), high = used.lastIndexOf(true);
  if (low < 0) return h("figure", null, h("p", { class: "muted" }, t("chart.empty")));
  const rows = high - low + 1;
  const most = Math.max(...counts.flat());
  const sums = bounds.map((_, row) => counts.reduce((sum, column) => sum + column[row], 0));
  const boundText = (row) => (row < 0 ? "0" : bounds[row] === Infinity ? "∞" : format.milliseconds(bounds[row]));
  const common = sums.indexOf(Math.max(...sums));
  const label = t("chart.heat", title, `${boundText(common - 1)} – ${boundText(common)}`);
  const x = scale(0, times.length, LEFT, WIDTH - RIGHT), y = scale(0, rows, HEIGHT - BOTTOM, TOP);
  const every = Math.ceil(rows / 7);
  return h("figure", { class: "figure" }, s("svg", { class: "chart heat", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    counts.flatMap((column, place) => column.slice(low, high + 1).map((count, row) => count > 0 && s("rect", {
      x: x(place).toFixed(1), y: y(row + 1).toFixed(1), width: Math.max(1, x(1) - x(0) - 0.5).toFixed(1), height: Math.max(1, y(0) - y(1) - 0.5).toFixed(1),
      "fill-opacity": (0.12 + 0.88 * Math.sqrt(count / most)).toFixed(2),
    }, s("title", null, `${format.clock(times[place])} ${boundText(low + row - 1)} – ${boundText(low + row)}: ${count.toFixed(1)}`)))),
    Array.from({ length: rows }, (_, row) => row).filter((row) => row % every === 0).map((row) =>
      s("text", { x: LEFT - 6, y: y(row + 1) + 10, "text-anchor": "end" }, "≤ " + boundText(low + row))),
    s("text", { x: LEFT, y: HEIGHT - 5 }, format.clock(times[0]).slice(0, 5)),
    s("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, format.clock(times[times.length - 1]).slice(0, 5))));
}

"""##),
        "configuration.js": Asset(digest: "a1a28c5fdfcb77c5", text: ##"""
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

"""##),
        "data.js": Asset(digest: "18d459e6957fac96", text: ##"""
// Asking the control plane: the token, queries (few at a time), and what was answered before.

let token = "";
let changed = () => {};

/** Called when something was answered. */
export function onChange(body) { changed = body; }

/** The token of an administrator: in memory only. */
export const session = {
  get hasToken() { return token !== ""; },
  wasWrong: false,
  use(text) { token = text.trim(); this.wasWrong = false; forget("/skein/"); changed(); },
  drop() { token = ""; forget("/skein/"); changed(); },
};

const known = new Map();
const QUERIES_AT_ONCE = 2;
let running = 0;
const waiting = [];

function forget(prefix) { for (const key of known.keys()) if (key.startsWith(prefix)) known.delete(key); }

/** What was answered is asked again when it is looked at next. */
export function refresh() { for (const entry of known.values()) if (!entry.isLasting) entry.isOld = true; }

/** What was answered is asked again now; what was shown stays until then. */
export function again(path) { const entry = known.get(path); if (entry) entry.isOld = true; }

async function ask(path) {
  const used = token;
  const headers = path.startsWith("/skein/") && token ? { authorization: "Bearer " + token } : {};
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  if (answer.status === 401) {
    // Several questions may have gone out with the same wrong token, and a right one may be there since.
    if (used && used === token) { session.wasWrong = true; token = ""; }
    throw new Error("401");
  }
  if (!answer.ok) {
    const text = (await answer.text()).trim();
    let reason = text;
    try { reason = JSON.parse(text).error ?? text; } catch { /* It is a plain text. */ }
    const error = new Error(reason || String(answer.status));
    error.status = answer.status;
    throw error;
  }
  return answer.json();
}

function start() {
  while (running < QUERIES_AT_ONCE && waiting.length) {
    const [path, entry] = waiting.shift();
    running += 1;
    ask(path).then((value) => { entry.value = value; entry.error = null; }, (error) => { entry.error = error; })
      .finally(() => { entry.isAsked = false; running -= 1; start(); changed(); });
  }
}

/** What a path answered: {value, error, isAsked}; asked now when it is not known or old. Shown as it was until the new answer is there. With `isLasting` (answers that cost proxies work) it is old when `again` says so only. */
export function load(path, isLasting = false) {
  let entry = known.get(path);
  if (!entry) {
    if (known.size > 200) known.clear();
    entry = { value: null, error: null, isAsked: false, isOld: true, isLasting };
    known.set(path, entry);
  }
  if (entry.isOld && !entry.isAsked) {
    entry.isOld = false;
    entry.isAsked = true;
    waiting.push([path, entry]);
    start();
  }
  return entry;
}

const parameters = (values) => new URLSearchParams(values).toString();

/** How far back charts look for a window (seconds), and the step between their points. */
export const spanOf = (window) => ({ 60: [900, 10], 300: [3600, 30], 900: [10800, 60], 3600: [43200, 300] })[window] ?? [900, 10];

/** Points of a query over a span that ends at `end`: [{labels, points: [[seconds, number]]}], or an entry without value. */
export function range(query, end, window) {
  const [span, step] = spanOf(window);
  const last = Math.floor(end / step) * step;
  const entry = load("/api/v1/query_range?" + parameters({ query, start: last - span, end: last, step }));
  return { ...entry, value: entry.value && entry.value.data.result.map((series) => ({ labels: series.metric, points: series.values.map(([time, value]) => [time, Number(value)]) })) };
}

/** The numbers of a query at a time: [{labels, value}]. */
export function instant(query, time) {
  const entry = load("/api/v1/query?" + parameters({ query, time }));
  return { ...entry, value: entry.value && entry.value.data.result.map((series) => ({ labels: series.metric, value: Number(series.value[1]) })) };
}

/** A text in quotes of PromQL. */
export const quoted = (text) => JSON.stringify(text);

"""##),
        "dom.js": Asset(digest: "96562ad74781481f", text: ##"""
// Elements, and turning what is shown into what should be shown without losing focus, selection or scroll positions.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit"];

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (HANDLERS.includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return element;
}

/** An element of HTML. Texts stay texts: nothing that is shown is ever read as HTML. */
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);
const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

/** Makes `parent` hold `wanted`; elements that are alike (same tag, same data-key) stay and are changed in place. */
export function patch(parent, wanted) {
  const children = wanted.flat(Infinity).filter((child) => child instanceof Node);
  const keyed = new Map();
  for (const node of parent.childNodes) if (keyOf(node) !== null) keyed.set(keyOf(node), node);
  let place = parent.firstChild;
  for (const next of children) {
    const known = keyOf(next) === null ? null : keyed.get(keyOf(next));
    if (known && known !== place && isAlike(known, next)) parent.insertBefore(known, place);
    const present = known && isAlike(known, next) ? known : place;
    if (present && isAlike(present, next)) {
      change(present, next);
      place = present.nextSibling;
    } else {
      parent.insertBefore(next, place);
    }
  }
  while (place) {
    const following = place.nextSibling;
    place.remove();
    place = following;
  }
}

function change(present, next) {
  if (present.nodeType !== 1) {
    if (present.nodeValue !== next.nodeValue) present.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...present.attributes]) if (!next.hasAttribute(name) && name !== "open") present.removeAttribute(name);
  for (const { name, value } of next.attributes) if (present.getAttribute(name) !== value) present.setAttribute(name, value);
  for (const name of HANDLERS) if (present[name] !== next[name]) present[name] = next[name];
  patch(present, [...next.childNodes]);
}

/** A table: `columns` are {name, number, text}, `rows` are {key, cells}; what is too wide is scrolled within. */
export function table(title, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "muted" }, empty);
  const style = (column) => (column.number ? "number" : column.text ? "text" : null);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    h("table", null,
      h("caption", null, title),
      h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: style(column) }, column.name)))),
      h("tbody", null, rows.map((row) => h("tr", { "data-key": row.key },
        row.cells.map((cell, place) => h(place ? "td" : "th", { class: style(columns[place]), scope: place ? null : "row" }, cell === null || cell === undefined ? "-" : cell)))))));
}

/** Numbers as people read them. */
export const format = {
  rate: (value) => (value === null || value === undefined ? "-" : value >= 100 ? value.toFixed(0) : value >= 0.05 || value === 0 ? value.toFixed(1) : "<0.1"),
  percent: (share, digits = 1) => (share === null || share === undefined ? "-" : (share >= 1 ? "100" : (Math.floor(share * 100 * 10 ** digits + 1e-9) / 10 ** digits).toFixed(digits)) + " %"),
  part: (share) => (share === null || share === undefined ? "-" : (share * 100).toFixed(0) + " %"),
  milliseconds(value) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "-";
    if (value >= 10000) return (value / 1000).toFixed(1) + " s";
    return (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)) + " ms";
  },
  bytes(value) {
    if (value === null || value === undefined) return "-";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let place = 0;
    while (value >= 1024 && place < units.length - 1) { value /= 1024; place += 1; }
    return (place && value < 100 ? value.toFixed(1) : value.toFixed(0)) + " " + units[place];
  },
  clock: (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 8),
};

"""##),
        "explain.js": Asset(digest: "511da0b8111d8b80", text: ##"""
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

"""##),
        "icon.svg": Asset(digest: "413af097a43577c5", text: ##"""
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b5cad"/><path d="M7 10c6 0 6 12 18 12M7 22c6 0 6-12 18-12M7 16h18" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/></svg>

"""##),
        "index.html": Asset(digest: "408af0ea05f2ba51", text: ##"""
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Skein</title>
<link rel="icon" href="/dashboard/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/dashboard/style.css">
<link rel="modulepreload" href="/dashboard/dom.js">
<link rel="modulepreload" href="/dashboard/texts.js">
<link rel="modulepreload" href="/dashboard/layout.js">
<link rel="modulepreload" href="/dashboard/charts.js">
<link rel="modulepreload" href="/dashboard/data.js">
<link rel="modulepreload" href="/dashboard/pages.js">
<link rel="modulepreload" href="/dashboard/service.js">
<link rel="modulepreload" href="/dashboard/administration.js">
<link rel="modulepreload" href="/dashboard/configuration.js">
<link rel="modulepreload" href="/dashboard/network.js">
<link rel="modulepreload" href="/dashboard/requests.js">
<link rel="modulepreload" href="/dashboard/explain.js">
<link rel="modulepreload" href="/dashboard/planner.js">
<script type="module" src="/dashboard/main.js"></script>
</head>
<body>
<a class="skip" id="skip" href="#content">Skip to the content</a>
<header>
<p class="brand"><img src="/dashboard/icon.svg" alt="" width="28" height="28"> Skein</p>
<div id="tools"></div>
</header>
<nav id="nav" aria-label="Pages"></nav>
<main id="content" tabindex="-1"><h1>Skein</h1><p id="first">…</p><noscript>This page needs JavaScript. skein stat, skein edges and skein alerts tell the same on a terminal.</noscript></main>
<footer><p id="state" role="status"></p></footer>
</body>
</html>

"""##),
        "layout.js": Asset(digest: "2b8f51bfbe5f1f07", text: ##"""
// Where nodes and edges of the graph are. Pure: places depend on the names of nodes and on who is connected with whom, on nothing else,
// so that they stay where they are while numbers move.

export const BOX = { width: 176, height: 62 };
const GAP = { x: 108, y: 34 };
const ROUNDS = 8;

const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

/** Pairs without the ones that would close a circle, found in the order of names. */
function withoutCircles(names, pairs) {
  const next = new Map(names.map((name) => [name, []]));
  for (const [from, to] of pairs) next.get(from).push(to);
  const called = new Set(pairs.map(([, to]) => to));
  const state = new Map();
  const kept = [];
  for (const start of [...names.filter((name) => !called.has(name)), ...names]) {
    if (state.has(start)) continue;
    state.set(start, "open");
    const path = [[start, 0]];
    while (path.length) {
      const top = path[path.length - 1];
      const [name, place] = top;
      if (place === next.get(name).length) { state.set(name, "done"); path.pop(); continue; }
      top[1] += 1;
      const to = next.get(name)[place];
      if (state.get(to) === "open") continue;
      kept.push([name, to]);
      if (!state.has(to)) { state.set(to, "open"); path.push([to, 0]); }
    }
  }
  return kept;
}

/** The column of each node: one more than the last of those that call it. */
function columnsOf(names, pairs) {
  const column = new Map(names.map((name) => [name, 0]));
  for (let round = 0; round < names.length; round += 1) {
    let moved = false;
    for (const [from, to] of pairs) {
      if (column.get(to) < column.get(from) + 1) { column.set(to, column.get(from) + 1); moved = true; }
    }
    if (!moved) break;
  }
  return column;
}

/**
 * Places for everything.
 * @param {string[]} ids of nodes, in any order
 * @param {[string, string][]} edges from and to, in any order, also twice
 * @returns {{width: number, height: number, nodes: Map<string, {x: number, y: number, column: number}>, ways: Map<string, [number, number][]>}}
 *   upper left corners, and the points on the way of `from + "\n" + to`
 */
export function layout(ids, edges) {
  const names = [...new Set(ids)].sort(compare);
  const known = new Set(names);
  const pairs = [...new Set(edges.filter(([from, to]) => known.has(from) && known.has(to) && from !== to).map(([from, to]) => from + "\n" + to))]
    .sort(compare).map((pair) => pair.split("\n"));
  const forward = withoutCircles(names, pairs);
  const column = columnsOf(names, forward);
  const columns = [];
  const put = (name, place) => { (columns[place] ||= []).push(name); };
  for (const name of names) put(name, column.get(name));
  // An edge over several columns gets a place in each between, so that it does not run through boxes.
  const links = [];
  const between = new Map();
  for (const [from, to] of forward) {
    let last = from;
    const points = [];
    for (let place = column.get(from) + 1; place < column.get(to); place += 1) {
      const point = `\u0000${from}\n${to}\n${place}`;
      put(point, place);
      links.push([last, point]);
      points.push(point);
      last = point;
    }
    links.push([last, to]);
    between.set(from + "\n" + to, points);
  }
  for (let place = 0; place < columns.length; place += 1) columns[place] ||= [];
  const before = new Map(), after = new Map();
  for (const [from, to] of links) {
    if (!before.has(to)) before.set(to, []);
    if (!after.has(from)) after.set(from, []);
    before.get(to).push(from);
    after.get(from).push(to);
  }
  // Each goes where its neighbours are on average; what is alike stays in the order of names.
  const order = new Map();
  const note = () => { for (const members of columns) members.forEach((name, place) => order.set(name, (place + 0.5) / members.length)); };
  note();
  for (let round = 0; round < ROUNDS; round += 1) {
    const sides = round % 2 ? after : before;
    for (const members of round % 2 ? [...columns].reverse() : columns) {
      const wish = new Map(members.map((name) => {
        const others = sides.get(name) || [];
        return [name, others.length ? others.reduce((sum, other) => sum + order.get(other), 0) / others.length : order.get(name)];
      }));
      members.sort((one, other) => wish.get(one) - wish.get(other) || compare(one, other));
      members.forEach((name, place) => order.set(name, (place + 0.5) / members.length));
    }
  }
  const isPoint = (name) => name.startsWith("\u0000");
  const heightOf = (members) => members.reduce((sum, name) => sum + (isPoint(name) ? 18 : BOX.height) + GAP.y, -GAP.y);
  const height = Math.max(BOX.height, ...columns.map(heightOf));
  const nodes = new Map(), centre = new Map();
  columns.forEach((members, place) => {
    let y = (height - heightOf(members)) / 2;
    const x = place * (BOX.width + GAP.x);
    for (const name of members) {
      const own = isPoint(name) ? 18 : BOX.height;
      centre.set(name, [x + BOX.width / 2, Math.round(y + own / 2)]);
      if (!isPoint(name)) nodes.set(name, { x, y: Math.round(y), column: place });
      y += own + GAP.y;
    }
  });
  const ways = new Map();
  for (const [from, to] of pairs) {
    const key = from + "\n" + to;
    const [one, other] = [nodes.get(from), nodes.get(to)];
    const isBack = other.column <= one.column;
    const start = [one.x + (isBack ? 0 : BOX.width), one.y + BOX.height / 2];
    const end = [other.x + (isBack ? BOX.width : 0), other.y + BOX.height / 2];
    ways.set(key, [start, ...(between.get(key) || []).map((point) => centre.get(point)), end]);
  }
  return { width: Math.max(1, columns.length) * (BOX.width + GAP.x) - GAP.x, height, nodes, ways };
}

/** A curve through points, level at each of them. */
export function curve(points) {
  let path = `M${points[0][0]} ${points[0][1]}`;
  for (let place = 1; place < points.length; place += 1) {
    const [x0, y0] = points[place - 1];
    const [x1, y1] = points[place];
    const bend = Math.max(30, Math.abs(x1 - x0) / 2) * (x1 < x0 ? -1 : 1);
    path += ` C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
  }
  return path;
}

/** Where the label of an edge is: in the middle of its first part that is long enough to be seen, before its target. */
export function middle(points) {
  const [[x0, y0], [x1, y1]] = [points[points.length - 2], points[points.length - 1]];
  return [(x0 + x1) / 2, (y0 + y1) / 2];
}

/** The width of a line by requests a second: wider by the same for each ten times as many. */
export const widthOf = (rate) => Math.min(9, 1.5 + Math.max(0, Math.log10(1 + (rate || 0))) * 2);

/** How bad an edge is: by the share of its requests that failed. */
export function stateOf(edge) {
  if (!edge.requestsPerSecond) return "idle";
  const failed = 1 - (edge.success ?? 1);
  return failed >= 0.1 ? "critical" : failed >= 0.01 ? "warning" : "good";
}

"""##),
        "main.js": Asset(digest: "66026a055dfdee1a", text: ##"""
// The page around the pages: navigation, language, theme, time span, events.

import { h, patch, format } from "./dom.js";
import { t, languages, currentLanguage, useLanguage } from "./texts.js";
import { onChange, refresh, session } from "./data.js";
import { overview, graph, services, alerts } from "./pages.js";
import { service } from "./service.js";
import { requests, requestTitle } from "./requests.js";
import { planner } from "./planner.js";
import { configuration, objectTitle } from "./configuration.js";
import { network } from "./network.js";
import { certificates, tokenForm } from "./administration.js";

const WINDOWS = [60, 300, 900, 3600];
const THEMES = ["auto", "light", "dark"];
const pages = { overview, graph, services, requests, configuration, network, certificates, alerts, planner };
/** What is for administrators. */
const closed = new Set(["configuration", "network", "certificates", "planner"]);

const state = { mesh: null, isBroken: false, window: 60, theme: "auto", source: null };
const find = (id) => document.getElementById(id);

// What is remembered is how it looks, never who looks.
function remembered(name, fallback) {
  try { return localStorage.getItem("skein." + name) ?? fallback; } catch { return fallback; }
}
function remember(name, value) {
  try { localStorage.setItem("skein." + name, value); } catch { /* A browser that keeps nothing. */ }
}

function takeToken() {
  const match = /^#token=([0-9a-f]+)$/.exec(location.hash);
  if (!match) return;
  // Out of the address bar and the history before anything is shown.
  history.replaceState(null, "", "/dashboard#/overview");
  session.use(match[1]);
}

function route() {
  const [, name = "overview", operand = ""] = location.hash.split("/");
  let text = operand;
  try { text = decodeURIComponent(operand); } catch { /* It is shown as it is. */ }
  return { name: name || "overview", operand: text };
}

function useTheme(theme) {
  state.theme = THEMES.includes(theme) ? theme : "auto";
  if (state.theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", state.theme);
}

const chooser = (id, label, values, chosen, textOf, take) => h("label", null, label,
  h("select", { id, onchange: (event) => take(event.target.value) }, values.map((value) => h("option", { value, selected: String(value) === String(chosen) }, textOf(value)))));

function frame(name) {
  document.documentElement.lang = currentLanguage() === "zh" ? "zh-Hans" : "en";
  find("skip").textContent = t("app.skip");
  find("nav").setAttribute("aria-label", t("app.pages"));
  patch(find("nav"), [h("ul", null, Object.keys(pages).map((page) => h("li", null,
    h("a", { href: "#/" + page, "aria-current": page === name || (page === "services" && name === "service") ? "page" : null }, t("page." + page)))))]);
  patch(find("tools"), [
    chooser("window", t("app.window"), WINDOWS, state.window, (value) => t("app.window." + value), (value) => { state.window = Number(value); connect(); }),
    chooser("language", t("app.language"), languages, currentLanguage(), (value) => ({ en: "English", zh: "中文" })[value], (value) => { remember("language", value); useLanguage(value); show(); }),
    chooser("theme", t("app.theme"), THEMES, state.theme, (value) => t("app.theme." + value), (value) => { remember("theme", value); useTheme(value); show(); }),
    session.hasToken ? h("button", { type: "button", "data-key": "forget", onclick: () => session.drop() }, t("token.forget")) : null,
  ]);
  const live = state.isBroken ? t("state.broken") : state.mesh?.time ? t("state.live", format.clock(state.mesh.time)) : t("state.waiting");
  if (find("state").textContent !== live) find("state").textContent = live;
}

let last = "";
function show() {
  const { name, operand } = route();
  frame(name);
  const page = name === "service" ? service : pages[name];
  const of = operand && { service: () => t("page.service", operand), configuration: () => objectTitle(operand), requests: () => requestTitle(operand) }[name];
  const title = page ? (of ? of() : t("page." + name)) : t("page.missing");
  document.title = title + " – Skein";
  let content;
  if (!page) content = [h("h1", { tabindex: "-1" }, t("page.missing"))];
  else if (closed.has(name) && !session.hasToken) content = [h("h1", { tabindex: "-1" }, title), tokenForm()];
  else if (!state.mesh) content = [h("h1", { tabindex: "-1" }, title), h("p", null, t("word.loading"))];
  else content = page({ mesh: state.mesh, window: state.window, operand, show });
  patch(find("content"), content);
  if (last && last !== location.hash) {
    find("content").querySelector("h1")?.focus();
    scrollTo(0, 0);
  }
  last = location.hash || "#/overview";
}

let isDue = false;
function soon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; show(); });
}

function connect() {
  state.source?.close();
  const source = new EventSource("/dashboard/events?window=" + state.window);
  state.source = source;
  source.addEventListener("mesh", (event) => {
    state.mesh = JSON.parse(event.data);
    state.isBroken = false;
    refresh();
    soon();
  });
  // The browser tries again by itself, but not after an answer that is no stream.
  source.addEventListener("error", () => {
    state.isBroken = true;
    if (source.readyState === EventSource.CLOSED && state.source === source) setTimeout(() => { if (state.source === source) connect(); }, 3000);
    soon();
  });
}

function disconnect() {
  state.source?.close();
  state.source = null;
}

takeToken();
useLanguage(remembered("language", navigator.language.startsWith("zh") ? "zh" : "en"));
useTheme(remembered("theme", "auto"));
onChange(soon);
find("skip").addEventListener("click", (event) => { event.preventDefault(); find("content").focus(); });
addEventListener("hashchange", () => { takeToken(); show(); });
// A browser has six connections to one place: pages that nobody sees, in other tabs or kept for going back, leave theirs to those that are seen.
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => { if (event.persisted && !state.source) connect(); });
document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else if (!state.source) connect(); });
show();
if (!document.hidden) connect();

"""##),
        "network.js": Asset(digest: "79fe9ea4ab6f591b", text: ##"""
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

"""##),
        "pages.js": Asset(digest: "5ea4fdbef82072ee", text: ##"""
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

"""##),
        "planner.js": Asset(digest: "3a1037a25183dad6", text: ##"""
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

"""##),
        "requests.js": Asset(digest: "5ab8dd057b1d4b17", text: ##"""
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

"""##),
        "service.js": Asset(digest: "52d11ec866df4644", text: ##"""
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

"""##),
        "style.css": Asset(digest: "6a77cd547318e911", text: ##"""
:root {
  --back: #ffffff; --panel: #f4f6f8; --line: #c4cbd3; --text: #1b1f24; --muted: #505963; --link: #0b5cad;
  --good: #116329; --warning: #7d4e00; --critical: #b3261e; --focus: #0b5cad; --heat: #0b5cad;
  --a: #0b5cad; --b: #a34100; --c: #116329; --d: #8a2a86; --e: #505963;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    --back: #0f1419; --panel: #1a2129; --line: #46525e; --text: #e8ebee; --muted: #aab4be; --link: #86c5ff;
    --good: #72dd8d; --warning: #f2c464; --critical: #ffa39d; --focus: #86c5ff; --heat: #86c5ff;
    --a: #86c5ff; --b: #ffb27a; --c: #72dd8d; --d: #e6a5e2; --e: #aab4be;
  }
}
:root[data-theme="dark"] {
  --back: #0f1419; --panel: #1a2129; --line: #46525e; --text: #e8ebee; --muted: #aab4be; --link: #86c5ff;
  --good: #72dd8d; --warning: #f2c464; --critical: #ffa39d; --focus: #86c5ff; --heat: #86c5ff;
  --a: #86c5ff; --b: #ffb27a; --c: #72dd8d; --d: #e6a5e2; --e: #aab4be;
}
* { box-sizing: border-box; }
html { background: var(--back); color: var(--text); font: 15px/1.45 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; grid-template: "head head" auto "nav main" 1fr "foot foot" auto / 190px minmax(0, 1fr); }
header { grid-area: head; display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; justify-content: space-between; padding: 8px 20px; border-bottom: 1px solid var(--line); }
.brand { display: flex; gap: 10px; align-items: center; margin: 0; font-weight: 700; font-size: 18px; }
#tools { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
nav { grid-area: nav; border-right: 1px solid var(--line); padding: 12px 8px; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 7px 12px; border-radius: 6px; color: var(--text); text-decoration: none; }
nav a:hover { background: var(--panel); text-decoration: underline; }
nav a[aria-current] { background: var(--panel); font-weight: 700; box-shadow: inset 3px 0 var(--link); }
main { grid-area: main; padding: 16px 24px 40px; max-width: 1800px; width: 100%; }
main:focus { outline: none; }
footer { grid-area: foot; border-top: 1px solid var(--line); padding: 4px 20px; color: var(--muted); font-size: 13px; }
footer p { margin: 0; }
h1 { font-size: 22px; margin: 0 0 12px; overflow-wrap: anywhere; }
h1:focus { outline: none; }
h2 { font-size: 17px; margin: 26px 0 8px; }
p { margin: 6px 0; }
figure { margin: 0; }
a { color: var(--link); }
code, pre, .mono { font-family: ui-monospace, "Liberation Mono", monospace; font-size: 13px; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: 10px; border-radius: 6px; white-space: pre-wrap; margin: 6px 0; }
button, select, input, textarea { font: inherit; color: var(--text); background: var(--back); border: 1px solid var(--muted); border-radius: 6px; padding: 5px 10px; max-width: 100%; }
button { background: var(--panel); cursor: pointer; }
label { display: inline-flex; gap: 6px; align-items: center; flex-wrap: wrap; max-width: 100%; }
form { display: flex; flex-wrap: wrap; gap: 10px 14px; align-items: end; margin: 8px 0; }
a:focus-visible, button:focus-visible, select:focus-visible, input:focus-visible, textarea:focus-visible, summary:focus-visible, [tabindex="0"]:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
.skip { position: absolute; left: 8px; top: -60px; background: var(--back); padding: 8px 12px; z-index: 2; }
.skip:focus { top: 8px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; margin: 0; }
.tiles > div { background: var(--panel); border-radius: 8px; padding: 10px 14px; }
.tiles dt { color: var(--muted); font-size: 13px; }
.tiles dd { margin: 0; font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tiles small { display: block; font-size: 13px; font-weight: 400; color: var(--muted); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { min-width: 180px; max-width: 640px; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.good { color: var(--good); }
.warning { color: var(--warning); }
.critical { color: var(--critical); font-weight: 600; }
.problems { list-style: none; padding: 0; margin: 0; display: grid; gap: 8px; }
.problems li { border-left: 4px solid var(--muted); background: var(--panel); border-radius: 0 6px 6px 0; padding: 8px 12px; overflow-wrap: anywhere; }
.problems li.is-critical { border-left-color: var(--critical); }
.problems li.is-warning { border-left-color: var(--warning); }
.notice { background: var(--panel); border-left: 4px solid var(--link); padding: 10px 14px; border-radius: 0 6px 6px 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 10px 28px; }
.columns > * { min-width: 0; }
.chart { width: 100%; height: auto; display: block; }
.chart text { fill: var(--muted); font-size: 11px; }
.chart .axis { stroke: var(--line); stroke-width: 1; fill: none; }
.chart polyline { fill: none; stroke-width: 2; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 0; margin: 4px 0; font-size: 13px; }
.legend svg { width: 28px; height: 8px; margin-right: 6px; }
.s0 { stroke: var(--a); } .s1 { stroke: var(--b); } .s2 { stroke: var(--c); } .s3 { stroke: var(--d); } .s4 { stroke: var(--e); }
.heat rect { fill: var(--heat); }
.bar { fill: var(--a); } .bar.bad { fill: var(--critical); } .bar-line { stroke: var(--line); }
.graph { display: block; margin: 0 auto; }
.graph .box { fill: var(--panel); stroke: var(--muted); stroke-width: 1.5; }
.graph .outside .box { stroke-dasharray: 5 4; }
.graph .service .box { rx: 20; }
.graph .bad .box { stroke: var(--critical); stroke-width: 3; }
.graph text { fill: var(--text); font-size: 13px; }
.graph .name { font-weight: 600; font-size: 14px; }
.graph .small { fill: var(--muted); font-size: 12px; }
.graph .edge path.line { fill: none; stroke: var(--good); }
.graph .edge.idle path.line { stroke: var(--muted); }
.graph .edge.warning path.line { stroke: var(--warning); stroke-dasharray: 10 5; }
.graph .edge.critical path.line { stroke: var(--critical); stroke-dasharray: 3 4; }
.graph .edge.inside path.line { stroke: var(--muted); stroke-dasharray: 1 5; stroke-linecap: round; }
.graph .edge text { font-size: 12px; paint-order: stroke; stroke: var(--back); stroke-width: 4px; stroke-linejoin: round; text-anchor: middle; }
.graph .edge .lock { fill: none; stroke: var(--muted); stroke-width: 1.4; }
.graph .edge .lock rect { fill: var(--muted); }
.graph .edge .plain rect { fill: none; }
.graph a:focus { outline: none; }
.graph a:focus-visible .box { stroke: var(--focus); stroke-width: 4; }
.graph marker path { stroke: none; }
.m-good { fill: var(--good); } .m-idle, .m-inside { fill: var(--muted); } .m-warning { fill: var(--warning); } .m-critical { fill: var(--critical); }
.queue { fill: var(--warning); } .mark { stroke: var(--text); stroke-width: 1.5; fill: none; }
.verdict { font-weight: 600; font-size: 16px; overflow-wrap: anywhere; }
.pairs { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 14px; margin: 8px 0; }
.pairs dt { color: var(--muted); } .pairs dd { margin: 0; overflow-wrap: anywhere; }
.events { list-style: none; margin: 0; padding: 0; }
del { text-decoration: none; color: var(--critical); overflow-wrap: anywhere; }
del::before { content: "− "; } ins::before { content: "+ "; }
ins { text-decoration: none; color: var(--good); overflow-wrap: anywhere; }
details { margin: 8px 0; }
summary { cursor: pointer; }
@media (max-width: 760px) {
  body { grid-template: "head" auto "nav" auto "main" 1fr "foot" auto / minmax(0, 1fr); }
  nav { border-right: 0; border-bottom: 1px solid var(--line); padding: 4px 8px; }
  nav ul { display: flex; flex-wrap: wrap; }
  nav a { padding: 5px 9px; }
  nav a[aria-current] { box-shadow: inset 0 -3px var(--link); }
  header { padding: 8px 12px; }
  main { padding: 12px 12px 32px; }
}
@media (prefers-reduced-motion: no-preference) { .graph .edge path.line { transition: stroke-width .3s; } }

"""##),
        "texts.js": Asset(digest: "c724325328f63975", text: ##"""
// Every text that is shown, in English and Chinese. {0}, {1} … are what is put in.

export const texts = {
  "app.skip": ["Skip to the content", "跳到正文"],
  "app.pages": ["Pages", "页面"],
  "app.theme": ["Theme", "主题"],
  "app.theme.auto": ["as the system", "跟随系统"],
  "app.theme.light": ["light", "浅色"],
  "app.theme.dark": ["dark", "深色"],
  "app.language": ["Language", "语言"],
  "app.window": ["Time span", "时间范围"],
  "app.window.60": ["1 minute", "1 分钟"],
  "app.window.300": ["5 minutes", "5 分钟"],
  "app.window.900": ["15 minutes", "15 分钟"],
  "app.window.3600": ["1 hour", "1 小时"],
  "state.live": ["Live; last sample {0}", "实时；最近采样 {0}"],
  "state.waiting": ["Waiting for the first sample (every 10 seconds)", "等待第一次采样（每 10 秒一次）"],
  "state.broken": ["No connection to the control plane; trying again", "与控制平面的连接中断，正在重试"],
  "page.overview": ["Overview", "概览"],
  "page.graph": ["Service graph", "服务图"],
  "page.services": ["Services", "服务"],
  "page.service": ["Service {0}", "服务 {0}"],
  "page.requests": ["Requests", "请求"],
  "page.configuration": ["Configuration", "配置"],
  "page.network": ["Network", "网络"],
  "page.certificates": ["Certificates", "证书"],
  "page.alerts": ["Alerts", "告警"],
  "page.planner": ["Planner", "容量规划"],
  "page.missing": ["There is no such page.", "没有这个页面。"],
  "word.name": ["Name", "名称"],
  "word.namespace": ["Namespace", "命名空间"],
  "word.before": ["Before", "之前"],
  "word.after": ["After", "之后"],
  "word.service": ["Service", "服务"],
  "word.workload": ["Workload", "工作负载"],
  "word.source": ["From", "来源"],
  "word.target": ["To", "目标"],
  "word.pod": ["Pod", "Pod"],
  "word.pods": ["Pods", "Pod 数"],
  "word.node": ["Node", "节点"],
  "word.address": ["Address", "地址"],
  "word.kind": ["Kind", "类型"],
  "word.object": ["Object", "对象"],
  "word.status": ["Status", "状态"],
  "word.severity": ["Severity", "严重程度"],
  "word.since": ["Since", "开始时间"],
  "word.yes": ["yes", "是"],
  "word.no": ["no", "否"],
  "word.rate": ["Requests/s", "请求/秒"],
  "word.success": ["Success", "成功率"],
  "word.errors": ["Errors", "错误率"],
  "word.share": ["Share", "占比"],
  "word.mtls": ["mTLS", "mTLS"],
  "word.version": ["Version", "版本"],
  "word.caller": ["Caller", "调用方"],
  "word.ready": ["Ready", "就绪"],
  "word.loading": ["Loading …", "加载中……"],
  "word.failed": ["Could not be read: {0}", "读取失败：{0}"],
  "severity.critical": ["critical", "严重"],
  "severity.warning": ["warning", "警告"],
  "severity.error": ["error", "错误"],
  "severity.info": ["info", "提示"],
  "overview.golden": ["What comes in", "进入流量"],
  "overview.golden.note": ["Requests of workloads that nobody in the mesh asks, gateways above all; the last {0}.", "来自网格内无人调用的工作负载（主要是网关）的请求；最近 {0}。"],
  "golden.rate": ["Traffic", "流量"],
  "golden.rate.unit": ["requests a second", "每秒请求数"],
  "golden.errors": ["Errors", "错误"],
  "golden.errors.unit": ["of the requests", "占请求的比例"],
  "golden.latency": ["Latency", "延迟"],
  "golden.latency.unit": ["p50 {0}, p99 {1}", "p50 {0}，p99 {1}"],
  "golden.saturation": ["Saturation", "饱和度"],
  "golden.saturation.unit": ["processors; memory {0}", "处理器；内存 {0}"],
  "golden.proxies": ["Proxies", "代理"],
  "golden.proxies.unit": ["{0} behind, {1} refusing", "{0} 个未同步，{1} 个拒绝"],
  "overview.problems": ["What is wrong now", "当前问题"],
  "overview.fine": ["Nothing that Skein knows of.", "Skein 没有发现问题。"],
  "overview.more": ["{0} more are not shown.", "还有 {0} 个未显示。"],
  "overview.services": ["Services, as those who ask see them", "服务（从调用方看）"],
  "overview.noTraffic": ["No requests in this time span.", "此时间范围内没有请求。"],
  "problem.alert": ["Alert {0}: {1}", "告警 {0}：{1}"],
  "problem.errors": ["{1} % of the requests to {0} fail", "发往 {0} 的请求有 {1} % 失败"],
  "problem.silent": ["The proxy of pod {0} does not tell its metrics", "Pod {0} 的代理没有返回指标"],
  "problem.refused": ["The proxy of pod {0} refuses its configuration: {1}", "Pod {0} 的代理拒绝配置：{1}"],
  "problem.noHealthyEndpoint": ["{0} is asked and has no healthy endpoint", "{0} 正被调用，但没有健康的端点"],
  "problem.ejected": ["{1} endpoints of {0} are ejected (seen from the callers)", "{0} 有 {1} 个端点被剔除（从调用方看）"],
  "problem.alertConfiguration": ["The alerts' configuration is not in force: {0}", "告警配置未生效：{0}"],
  "graph.label": ["Service graph: {0} nodes, {1} edges; the table below says the same", "服务图：{0} 个节点，{1} 条边；下表内容相同"],
  "graph.node": ["{0}, namespace {1}: {2} requests a second, {3} succeed", "{0}，命名空间 {1}：每秒 {2} 个请求，成功率 {3}"],
  "graph.edge": ["{0} to {1}: {2} requests a second, {3} succeed, p95 {4}, {5}", "{0} 到 {1}：每秒 {2} 个请求，成功率 {3}，p95 {4}，{5}"],
  "graph.mtls": ["mutual TLS", "双向 TLS"],
  "graph.plain": ["not encrypted", "未加密"],
  "graph.unknown": ["encryption not known", "加密状态未知"],
  "graph.legend": ["Line: width by rate; solid below 1 % errors, dashed from 1 %, dotted from 10 %. Padlock: mutual TLS, open: none. Places depend on who asks whom only.", "线条：宽度表示速率；实线错误低于 1 %，虚线 1 % 以上，点线 10 % 以上。挂锁：双向 TLS；空心：未加密。位置只取决于调用关系。"],
  "graph.podCount": ["{0} pods", "{0} 个 Pod"],
  "graph.edges": ["Who asks whom", "调用关系"],
  "service.rate": ["Requests a second, by response code", "每秒请求数（按响应码）"],
  "service.errors": ["Share of errors", "错误占比"],
  "service.latency": ["Latency: p50, p95, p99", "延迟：p50、p95、p99"],
  "service.heat": ["Latency distribution: darker means more requests", "延迟分布：颜色越深请求越多"],
  "service.versions": ["By version", "按版本"],
  "service.callers": ["By caller", "按调用方"],
  "service.routes": ["Routes in force", "生效的路由"],
  "service.routes.of": ["As the proxy of {0} has them", "以 {0} 的代理为准"],
  "service.routes.none": ["No connected proxy has routes for this host.", "没有已连接的代理持有该主机的路由。"],
  "service.match": ["Match", "匹配"],
  "service.action": ["Action", "动作"],
  "service.provenance": ["Because of", "依据"],
  "service.endpoints": ["Endpoints", "端点"],
  "service.state": ["Seen by callers", "调用方所见"],
  "service.healthy": ["healthy", "健康"],
  "service.ejected": ["ejected by {0} of {1}", "被 {1} 个中的 {0} 个剔除"],
  "service.unhealthy": ["unhealthy for {0} of {1}", "{1} 个中 {0} 个认为不健康"],
  "service.active": ["Requests now", "当前请求"],
  "service.connections": ["Connections", "连接数"],
  "service.total": ["Requests so far", "累计请求"],
  "service.seen": ["As {0} callers see them ({1} of {2} proxies were asked).", "以 {0} 个调用方所见（{2} 个代理中查询了 {1} 个）。"],
  "service.unseen": ["The callers were not asked: {0}", "未能查询调用方：{0}"],
  "service.endpoints.none": ["No endpoints are known.", "没有已知端点。"],
  "service.health": ["Seen by callers: {0} endpoints, {1} healthy, {2} ejected", "从调用方看：{0} 个端点，{1} 个健康，{2} 个被剔除"],
  "chart.summary": ["{0}: now {1}, at most {2}", "{0}：当前 {1}，最高 {2}"],
  "chart.empty": ["No samples yet.", "暂无采样。"],
  "chart.heat": ["{0}: most requests at {1}", "{0}：多数请求在 {1}"],
  "token.why": ["This page shows objects of the mesh, so it asks who you are. Run “skein dashboard” on this machine and open the address that it prints, or enter the token here. It stays in this tab's memory and is sent to this address only.", "此页面显示网格中的对象，因此需要确认身份。请在本机运行 “skein dashboard” 并打开它打印的地址，或在此输入令牌。令牌只保存在此标签页的内存中，并且只发送到本地址。"],
  "token.label": ["Token", "令牌"],
  "token.enter": ["Show", "显示"],
  "token.forget": ["Forget the token", "清除令牌"],
  "token.wrong": ["That token is not right.", "令牌不正确。"],
  "requests.explain": ["Explain a request", "解释一个请求"],
  "requests.explain.this": ["Explain this request", "解释此请求"],
  "requests.explain.short": ["Explain", "解释"],
  "requests.explain.span": ["Explain the request of {0} to {1}", "解释 {0} 发往 {1} 的请求"],
  "requests.bar": ["begins at {0}, takes {1}", "开始于 {0}，耗时 {1}"],
  "requests.failures": ["{0} failed", "{0} 个失败"],
  "requests.incomplete": ["Spans are missing.", "缺少部分 span。"],
  "requests.skew": ["clocks differ by {0}", "时钟相差 {0}"],
  "requests.waterfall.picture": ["Course", "时间线"],
  "requests.trace.id": ["Id", "ID"],
  "requests.id": ["Id of a trace (its beginning will do)", "追踪 ID（开头几位即可）"],
  "requests.find": ["Find", "查找"],
  "requests.errorsOnly": ["Errors only", "仅错误"],
  "requests.atMost": ["At most (1s)", "最长耗时（1s）"],
  "requests.access": ["Access log", "访问日志"],
  "requests.access.of": ["Access log of this request", "此请求的访问日志"],
  "requests.access.why": ["The newest lines of the proxies: of their access logs, where the mesh configuration (accessLogFile) or a Telemetry has them written to standard output, and of their recorders, which keep one request in a hundred. No header fields, queries or bodies.", "来自各代理的最新记录：若网格配置（accessLogFile）或 Telemetry 将访问日志写到标准输出则取自访问日志，另取自各代理的记录器（每百个请求保留一个）。不含请求头、查询参数和正文。"],
  "requests.access.find": ["Find (words)", "查找（关键词）"],
  "requests.access.again": ["Read again", "重新读取"],
  "requests.access.from": ["Known from", "来源"],
  "requests.access.some": ["Only {0} of {1} proxies were asked.", "{1} 个代理中只查询了 {0} 个。"],
  "requests.access.none": ["No line is there: the access log is not written, and the recorders hold none that fits.", "没有记录：未写访问日志，记录器中也没有符合的请求。"],
  "requests.from.log": ["log", "日志"],
  "requests.from.recorder": ["recorder", "记录器"],
  "explain.token": ["This is for administrators: enter the token below, where the access log asks for it.", "仅限管理员：请在下方访问日志处输入令牌。"],
  "explain.ask": ["Ask", "查询"],
  "explain.verdict": ["Verdict", "结论"],
  "explain.cause": ["Cause: {0}", "原因：{0}"],
  "explain.steps": ["Decisions, in their order", "各步决定（按顺序）"],
  "explain.decision": ["Decision", "决定"],
  "explain.what": ["What and why", "内容与原因"],
  "explain.outbound": ["caller", "调用方"],
  "explain.gateway": ["gateway", "网关"],
  "explain.inbound": ["destination", "目标方"],
  "explain.control": ["Control plane", "控制平面"],
  "event.accepted": ["TLS of the caller: {0}", "调用方 TLS：{0}"],
  "event.tls": ["connection to {0} with {2} after waiting {1}", "等待 {1} 后连接到 {0}（{2}）"],
  "event.plain": ["connection to {0} without TLS after waiting {1}", "等待 {1} 后连接到 {0}（无 TLS）"],
  "event.retry": ["retry {0}", "重试 {0}"],
  "event.breaker": ["circuit breaker of {0}", "{0} 的熔断器"],
  "event.failed": ["connection failed: {0}", "连接失败：{0}"],
  "event.sent": ["request sent", "请求已发送"],
  "event.begun": ["response begun", "响应开始"],
  "requests.explain.why": ["The proxies on the way say what they would do with such a request now, by the code that serves. Nothing is sent to any program.", "沿途的代理用实际服务的代码说明它们现在会如何处理这样的请求。不会向任何程序发送内容。"],
  "requests.from": ["From pod, deployment/NAME or gateway", "来自 Pod、deployment/名称 或 gateway"],
  "requests.to": ["To (service, host:port or URL)", "目标（服务、主机:端口或 URL）"],
  "requests.path": ["Path", "路径"],
  "requests.method": ["Method", "方法"],
  "requests.header": ["Headers (name: value), one in a line", "请求头（名称: 值），每行一个"],
  "requests.command": ["The same on a terminal", "命令行等价形式"],
  "requests.traces": ["Traces", "链路追踪"],
  "requests.traces.none": ["No traces are stored.", "没有存储链路追踪。"],
  "requests.traces.off": ["No traces are stored here: proxies send spans to the collectors that Telemetry resources name.", "此处不存储链路追踪：代理将 span 发送到 Telemetry 资源指定的收集器。"],
  "requests.trace": ["Trace {0}", "追踪 {0}"],
  "requests.atLeast": ["At least (20ms)", "最短耗时（20ms）"],
  "requests.status": ["Status (503, 5xx, error, ok)", "状态（503、5xx、error、ok）"],
  "requests.duration": ["Duration", "耗时"],
  "requests.spans": ["Spans", "Span 数"],
  "requests.started": ["Started", "开始"],
  "requests.operation": ["Operation", "操作"],
  "requests.waterfall": ["Waterfall of the trace: {0} spans in {1}", "追踪瀑布图：{0} 个 span，共 {1}"],
  "requests.events": ["Events", "事件"],
  "configuration.findings": ["Findings", "分析结果"],
  "configuration.findings.none": ["The analysis finds nothing.", "分析没有发现问题。"],
  "configuration.object": ["Object {0}", "对象 {0}"],
  "configuration.changes": ["Changes", "变更"],
  "configuration.changes.none": ["Nothing has changed since this control plane started.", "自此控制平面启动以来没有变更。"],
  "configuration.kept": ["{0} revisions are kept: 20 of each object since this control plane started, without status and secret values.", "保留 {0} 个修订：自此控制平面启动以来每个对象 20 个，不含状态和机密值。"],
  "configuration.when": ["When", "时间"],
  "configuration.what": ["What", "内容"],
  "configuration.written": ["written", "写入"],
  "configuration.deleted": ["deleted", "删除"],
  "configuration.found": ["found at the start", "启动时已有"],
  "configuration.before": ["before {0}", "{0} 之前"],
  "configuration.fields": ["Fields", "字段数"],
  "configuration.revisions": ["Revisions", "修订"],
  "configuration.difference": ["Difference", "差异"],
  "configuration.same": ["The two are alike.", "两者相同。"],
  "configuration.one": ["One revision is known: a difference needs two.", "只有一个修订：比较需要两个。"],
  "configuration.unknown": ["No revision of this object is kept.", "没有保留此对象的修订。"],
  "configuration.have": ["{0} of {1} have it", "{1} 个中 {0} 个已有"],
  "configuration.objects": ["Objects", "对象"],
  "configuration.field": ["Field", "字段"],
  "configuration.message": ["What and why", "说明"],
  "configuration.code": ["Code", "代码"],
  "configuration.proxies": ["Who has acknowledged what", "确认情况"],
  "configuration.converged": ["Everybody has revision {0}.", "所有代理都已收到修订 {0}。"],
  "configuration.behind": ["Revision {0}: {1} of {2} proxies wait, {3} resources are refused.", "修订 {0}：{2} 个代理中有 {1} 个等待，{3} 个资源被拒绝。"],
  "configuration.revision": ["Revision", "修订"],
  "configuration.types": ["Types", "类型"],
  "configuration.refused": ["Refused", "被拒绝"],
  "configuration.generation": ["Generation", "代数"],
  "configuration.tooMany": ["Only the first {0} objects are shown.", "仅显示前 {0} 个对象。"],
  "network.nodes": ["Nodes", "节点"],
  "network.packet": ["What do policies do with a connection?", "网络策略如何处理连接？"],
  "network.packet.why": ["The compiler that makes the kernel's rules is asked. Pods (POD or POD.NAMESPACE), deployment/NAME, addresses; as target also service/NAME.", "由生成内核规则的编译器回答。可填 Pod（POD 或 POD.NAMESPACE）、deployment/名称、地址；目标还可填 service/名称。"],
  "network.from": ["From pod or address", "来源 Pod 或地址"],
  "network.to": ["To pod, address or service/NAME", "目标 Pod、地址或 service/名称"],
  "network.port": ["Port (80, 53/udp)", "端口（80、53/udp）"],
  "network.verdict": ["Verdict", "结论"],
  "network.passes": ["passes: {0} from {1} to {2}", "通过：{0}，从 {1} 到 {2}"],
  "network.dropped": ["dropped: {0} from {1} to {2}", "丢弃：{0}，从 {1} 到 {2}"],
  "network.end": ["End", "端"],
  "network.egress": ["leaves", "出"],
  "network.ingress": ["arrives", "入"],
  "network.decision": ["Decision", "决定"],
  "network.allowed": ["accepted", "允许"],
  "network.drops": ["dropped", "丢弃"],
  "network.audit": ["would be dropped (audit)", "将被丢弃（审计）"],
  "network.audited": ["without audit it would be dropped: {0}", "若非审计模式将被丢弃：{0}"],
  "network.selected": ["Policies that select the pod", "选中该 Pod 的策略"],
  "network.unselected": ["none", "无"],
  "network.counted": ["First packets", "首包数"],
  "network.noEnds": ["No pod is at either end: policies are for pods.", "两端都不是 Pod：策略只作用于 Pod。"],
  "network.counters": ["Policy rules and what they have counted", "策略规则及其计数"],
  "network.counters.none": ["No rule of a policy is in force on this node.", "此节点上没有生效的策略规则。"],
  "network.flows": ["Dropped, or would be: the last quarter of an hour", "最近一刻钟内被丢弃或将被丢弃的连接"],
  "network.flow": ["From, to, protocol, port", "来源、目标、协议、端口"],
  "network.pods": ["Pods", "Pod"],
  "network.services": ["Services", "服务"],
  "network.range": ["Pod addresses", "Pod 地址段"],
  "network.phase": ["Phase", "阶段"],
  "network.restarts": ["Restarts", "重启次数"],
  "network.ports": ["Ports", "端口"],
  "network.endpoints": ["Endpoints", "端点"],
  "certificates.authority": ["Authority", "证书颁发机构"],
  "certificates.workloads": ["Certificates of workloads", "工作负载证书"],
  "certificates.identity": ["Identity", "身份"],
  "certificates.until": ["Valid until", "有效期至"],
  "certificates.renewal": ["Renewed at", "续期时间"],
  "certificates.health": ["Health", "健康状况"],
  "certificates.stage": ["Stage", "阶段"],
  "certificates.alarms": ["Alarms", "警报"],
  "certificates.trust": ["Trust domain {0}", "信任域 {0}"],
  "alerts.active": ["Pending and firing", "等待中与触发中"],
  "alerts.none": ["No alert is pending or fires.", "没有等待中或触发中的告警。"],
  "alerts.silenced": ["silenced", "已静默"],
  "alerts.inhibited": ["inhibited", "已抑制"],
  "alerts.value": ["value {0}", "值 {0}"],
  "alerts.evidence": ["Evidence", "依据"],
  "alerts.silencing": ["Silences stand in silences.yaml of the ConfigMap skein-system/skein-alerts.", "静默规则写在 ConfigMap skein-system/skein-alerts 的 silences.yaml 中。"],
  "alerts.rules": ["Rules", "规则"],
  "alerts.query": ["Condition", "条件"],
  "alerts.health": ["Health", "健康状况"],
  "alerts.action": ["What to do: {0}", "处理办法：{0}"],
  "alerts.state.firing": ["firing", "触发中"],
  "alerts.state.pending": ["pending", "等待中"],
  "alerts.state.inactive": ["inactive", "未激活"],
  "planner.change": ["What if", "假设"],
  "planner.change.help": ["rate web x2 · add 50ms ratings · replicas orders=5 · split reviews-v1,reviews-v2 reviews-v2=20%", "rate web x2 · add 50ms ratings · replicas orders=5 · split reviews-v1,reviews-v2 reviews-v2=20%"],
  "planner.ask": ["Predict", "预测"],
  "planner.table": ["Predicted times and loads", "预测的时间与负载"],
  "planner.busy": ["Busy", "利用率"],
  "planner.now": ["Now", "当前"],
  "planner.then": ["Then", "之后"],
  "planner.inside": ["Inside", "在处理"],
  "planner.error": ["Error", "误差"],
  "planner.capacity": ["Capacity/s", "容量/秒"],
  "planner.plot": ["Mean latency over load (times the present requests)", "平均延迟随负载变化（相对当前请求的倍数）"],
  "planner.refused": ["No prediction: {0}", "无法预测：{0}"],
  "planner.bottleneck": ["The bottleneck is {0}.", "瓶颈是 {0}。"],
  "planner.notes": ["Assumed", "假设前提"],
};

export const languages = ["en", "zh"];
let language = "en";

export function useLanguage(name) { language = languages.includes(name) ? name : "en"; }
export const currentLanguage = () => language;

/** The text with that key in the language that is chosen. */
export function t(key, ...values) {
  const entry = texts[key];
  if (!entry) return key;
  return entry[languages.indexOf(language)].replace(/\{(\d)\}/g, (_, place) => values[place] ?? "");
}

"""##),
    ]
}
