// Shows what the address says, and changes the address by what is typed, clicked and pressed.

import { read, searchOf, write } from "./address.js";
import { ask, takeToken } from "./api.js";
import { conversation, markedIn } from "./conversation.js";
import { count } from "./elements.js";
import { errorBox } from "./errors.js";
import { chips, facetList, hitList, nothing, overview } from "./results.js";

const PAUSE = 50; // milliseconds without a key, after which a search is asked for
const SLOW = 400; // milliseconds after which the page says that it is searching

const at = id => document.getElementById(id);
const form = at("form"), query = at("query"), state = at("state"), notice = at("notice"), list = at("list");
const facets = at("facets"), chipList = at("chips"), pane = at("conversation"), results = at("results");
const help = at("help"), narrow = at("narrow");

let view = null; // what the page shows, or will when the server has answered
let hits = [];
let searching = new AbortController(), opening = new AbortController();
let pause = 0;

// Views

/** Show another view as a step of the history, or in place of the current one. */
function go(next, { replace = false, typing = false } = {}) {
  history[replace ? "replaceState" : "pushState"]({ typing }, "", write(next));
  return show(next);
}

async function show(next) {
  const before = view;
  view = next;
  if (query.value.trim() !== next.q) query.value = next.q;
  form.elements.mode.value = next.mode;
  document.title = next.q ? `${next.q} – CustomIR` : "CustomIR";
  if (before === null || searchOf(before) !== searchOf(next)) await search();
  if (view === next) await openConversation();
}

/** Ask again for what the address says. */
function showAgain() {
  view = null;
  return show(read(location.search));
}

async function search() {
  searching.abort();
  const { signal } = searching = new AbortController();
  const slow = setTimeout(() => { state.textContent = "Searching…"; }, SLOW);
  const asked = view;
  try {
    const answer = await ask(...request(asked), signal);
    if (signal.aborted) return;
    notice.replaceChildren();
    keepingFocus(() => showAnswer(answer, asked));
  } catch (error) {
    if (!signal.aborted) report(error);
  } finally {
    clearTimeout(slow);
  }
}

function request({ q, k, mode, like }) {
  if (like) return ["similar", { key: like, k, by_thread: true }];
  if (q) return ["search", { q, k, mode, by_thread: true, facets: true }];
  return ["about", {}];
}

function showAnswer(answer, asked) {
  const source = hits.find(hit => hit.key === asked.like);
  hits = answer.hits ?? [];
  const filters = answer.query?.filters ?? [];
  const rows = facetList(answer.facets ?? answer, asked);
  if (answer.hits === undefined) {
    state.textContent = "";
    list.replaceChildren(overview(answer));
  } else {
    const found = hits.length === Number(asked.k) ? `The best ${hits.length} conversations` : count(hits.length, "conversation");
    state.textContent = !asked.like ? found : `${found} like ${source ? `“${source.title}”` : "the chosen passage"}`;
    list.replaceChildren(...(hits.length ? hitList(hits, asked) : [nothing(filters, asked)]));
  }
  chipList.replaceChildren(...chips(filters, asked));
  chipList.hidden = !filters.length;
  facets.replaceChildren(...rows);
  facets.hidden = narrow.hidden = !rows.length;
  if (asked.k === read("").k) results.scrollTop = 0;
  markOpen();
}

/** Open the conversation of the view, or close the one that is open. */
async function openConversation() {
  opening.abort();
  const { thread, hit } = view;
  if (pane.dataset.thread === thread && pane.dataset.hit === hit) return;
  if (!thread) { closeConversation(); return; }
  const { signal } = opening = new AbortController();
  try {
    const answer = await ask("thread", { name: thread }, signal);
    if (signal.aborted) return;
    pane.replaceChildren(...conversation(answer, view, markedIn(hits)));
    Object.assign(pane.dataset, { thread, hit });
    pane.hidden = false;
    document.body.classList.add("reading");
    markOpen();
    pane.querySelector("h1").focus({ preventScroll: true });
    scrollToPassage();
  } catch (error) {
    if (!signal.aborted) report(error);
  }
}

/** To the passage that was found; to its message, where it is that one's first. */
function scrollToPassage() {
  pane.scrollTop = 0;
  pane.style.scrollPaddingTop = `${pane.querySelector(".top").offsetHeight + 12}px`;
  const passage = pane.querySelector(".passage");
  const found = passage?.matches("header + *") ? passage.parentElement : passage;
  found?.scrollIntoView({ block: found.offsetHeight > pane.clientHeight / 2 ? "start" : "center" });
}

function closeConversation() {
  const { hit } = pane.dataset;
  const focused = pane.contains(document.activeElement);
  document.body.classList.remove("reading");
  Object.assign(pane.dataset, { thread: "", hit: "" });
  pane.hidden = true;
  pane.replaceChildren();
  markOpen();
  if (focused) (hitLinks().find(one => one.dataset.key === hit) ?? query).focus();
}

const hitLinks = () => [...list.querySelectorAll("a[data-key]")];

function markOpen() {
  for (const one of hitLinks()) one.closest("article").classList.toggle("open", one.dataset.key === view.hit);
}

/** Where what has the focus is replaced, its successor gets it: the link with the same purpose, or the results. */
function keepingFocus(change) {
  const focused = document.activeElement;
  const isLink = focused.matches("#facets a, #list a, #chips a");
  const shown = hitLinks().length;
  change();
  if (!isLink) return;
  const same = facets.querySelector(`a[title="${CSS.escape(focused.title)}"]`);
  (same ?? (focused.matches(".more") ? hitLinks()[shown] : null) ?? results).focus({ preventScroll: true });
}

function report(problem) {
  notice.replaceChildren(errorBox(problem, showAgain));
  if (problem.status === 400 && hits.length) { // a query may be wrong for a moment, while it is typed
    state.textContent = "Still the results of the query before";
    return;
  }
  state.textContent = "";
  hits = [];
  list.replaceChildren();
  chipList.hidden = facets.hidden = narrow.hidden = true;
}

// What the user does

query.addEventListener("input", event => {
  clearTimeout(pause);
  if (!event.isComposing) pause = setTimeout(typed, PAUSE);
});
query.addEventListener("compositionend", () => { pause = setTimeout(typed, PAUSE); });

/** Search for what stands in the box. A run of keys is one step of the history. */
function typed() {
  const q = query.value.trim();
  if (q !== view.q || view.like) go({ ...read(""), q, mode: view.mode }, { typing: true, replace: history.state?.typing === true });
}

form.addEventListener("submit", event => {
  event.preventDefault();
  clearTimeout(pause);
  typed();
  history.replaceState({ typing: false }, "");
  if (matchMedia("(pointer: coarse)").matches) query.blur(); // the keyboard of a phone hides the hits
});

for (const mode of form.elements.mode) {
  mode.addEventListener("change", () => go({ ...read(""), q: query.value.trim(), mode: mode.value }));
}

document.addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(read(link.search));
});

narrow.addEventListener("click", () => {
  narrow.setAttribute("aria-expanded", document.body.classList.toggle("narrowing"));
});
at("help-button").addEventListener("click", () => help.showModal());
at("help-close").addEventListener("click", () => help.close());

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || help.open) return;
  const typing = event.target.matches("input:not([type=radio])");
  const act = typing ? KEYS_TYPING[event.key] : KEYS[event.key];
  if (act && act(event.target) !== false) event.preventDefault();
});

// Each returns false where the key means what it always does.
const KEYS = {
  "/": () => { query.focus(); query.select(); },
  "?": () => help.showModal(),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: target => list.contains(target) && step(1),
  ArrowUp: target => list.contains(target) && step(-1),
  Escape: () => { if (view.thread) leave(); else query.focus(); },
};
const KEYS_TYPING = {
  ArrowDown: target => target === query && step(1),
  Escape: () => view.thread !== "" && leave(),
};

function leave() {
  go({ ...view, thread: "", hit: "" });
}

/** To the next hit or the one before; where a conversation is open, that of the hit is opened. */
function step(by) {
  const links = hitLinks();
  const current = links.findIndex(one => view.thread ? one.dataset.key === view.hit : one.closest("li").contains(document.activeElement));
  const next = links[current + by];
  if (next && view.thread) go(read(next.search), { replace: true });
  else if (next) next.focus();
  else if (by < 0 && !view.thread) query.focus();
}

addEventListener("popstate", () => show(read(location.search)));
addEventListener("hashchange", () => { if (takeToken()) showAgain(); });

takeToken();
show(read(location.search));
