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
