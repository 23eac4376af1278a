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
