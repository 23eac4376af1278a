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
