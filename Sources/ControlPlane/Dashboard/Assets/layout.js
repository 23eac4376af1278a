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
