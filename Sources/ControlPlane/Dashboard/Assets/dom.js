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
