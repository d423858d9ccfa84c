// What the middle and the left column show: hits, filters, and the index itself where nothing is asked for.

import { searchOf, write } from "./address.js";
import { addressOf, count, element, language, link, marked, month, nameOf, person, time } from "./elements.js";
import { add, has, remove, term } from "./query.js";

const SHOWN = 7; // of a facet; the others are one click away
const HITS_MORE = 20;

const FACETS = [
  { field: "senders", title: "From", label: nameOf, terms: value => [term("from", addressOf(value) ?? value)] },
  { field: "months", title: "Month", label: month, terms: value => [term("after", value), term("before", following(value))] },
  { field: "sources", title: "Source", label: value => value, terms: value => [term("in", value.replace(/^\/+/, ""))] },
  { field: "languages", title: "Language", label: language, terms: value => [term("language", value)] },
];

/** The hits of `view`, as a list. */
export function hitList(hits, view) {
  const list = element("ol", "hits", ...hits.map(hit => element("li", "", hitArticle(hit, view))));
  return hits.length < Number(view.k) ? [list]
    : [list, link(write({ ...view, k: String(Number(view.k) + HITS_MORE) }), "more", "Show more")];
}

function hitArticle(hit, view) {
  const title = link(write({ ...view, thread: hit.thread, hit: hit.key }), "", hit.title || hit.identifier);
  title.dataset.key = hit.key;
  const like = link(write({ like: hit.key }), "like", "More like this");
  like.setAttribute("aria-label", `More like this: ${hit.title || hit.identifier}`);
  return element("article", "hit",
    element("div", "line", element("h2", "", title), time(hit.date)),
    element("p", "snippet", ...marked(hit.snippet, hit.marks)),
    element("p", "about",
      person(hit.sender),
      element("span", "", hit.source),
      hit.in_thread > 1 ? element("span", "", count(hit.in_thread, "message")) : null,
      hit.similar ? element("span", "", count(hit.similar, "near-duplicate")) : null,
      hit.attachments?.length ? element("span", "", count(hit.attachments.length, "attachment")) : null,
      like));
}

/** The filters of the query that was answered, each with a link to the search without it. */
export function chips(filters, view) {
  return filters.map(({ name, value, negated }) => {
    const made = link(write({ q: remove(view.q, term(name, value, negated)), mode: view.mode }), "chip",
      element("span", "", `${negated ? "not " : ""}${name === "phrase" ? `“${value}”` : `${name}: ${value}`}`), element("span", "cross", "×"));
    made.setAttribute("aria-label", `Remove the filter ${term(name, value, negated)}`);
    return element("li", "", made);
  });
}

/** The facets that have a choice, or are chosen. Their links add filters to the query, and take them away again. */
export function facetList(facets, view) {
  return FACETS.flatMap(({ field, title, label, terms }) => {
    const values = facets[field] ?? [];
    if (field === "months") values.reverse(); // the newest first
    const most = Math.max(...values.map(one => one.count));
    const rows = values.map(one => facetRow(label(one.value), one, terms(one.value), most, view));
    if (rows.length < 2 && !rows.some(row => row.querySelector("[aria-current]"))) return [];
    const rest = rows.splice(SHOWN);
    return [element("section", "facet",
      element("h2", "", title),
      element("ul", "", ...rows),
      rest.length ? element("details", "", element("summary", "", `${rest.length} more`), element("ul", "", ...rest)) : null)];
  });
}

function facetRow(label, { value, count: number }, terms, most, view) {
  const chosen = terms.every(each => has(view.q, each));
  const q = chosen ? remove(view.q, ...terms) : add(view.q, ...terms);
  const row = link(write({ q, mode: view.mode }), "", element("span", "", label), element("span", "number", number.toLocaleString("en")));
  row.title = value;
  if (chosen) row.setAttribute("aria-current", "true");
  row.style.setProperty("--share", number / most);
  return element("li", "", row);
}

/** What is in the index, where nothing is asked for. */
export function overview({ documents, passages, threads, first, last, examples }) {
  const period = first ? [", from ", time(first), " to ", time(last)] : [];
  return element("div", "overview",
    element("h2", "", `Search ${count(documents, "document")}`),
    element("p", "", `${count(threads, "conversation")}, ${count(passages, "passage")}`, ...period, "."),
    ...examples.length ? [
      element("h3", "", "For example"),
      element("ul", "examples", ...examples.map(q => element("li", "", link(write({ q }), "", q)))),
    ] : []);
}

/** Where nothing is found: how to find more. */
export function nothing(filters, view) {
  const ways = [];
  if (filters.length) {
    const q = remove(view.q, ...filters.map(one => term(one.name, one.value, one.negated)));
    ways.push(element("li", "", link(write({ q, mode: view.mode }), "", "Search without the filters")));
  }
  if (view.mode !== "hybrid") ways.push(element("li", "", link(searchOf({ ...view, mode: "hybrid" }), "", "Search by meaning and words")));
  return element("div", "overview",
    element("h2", "", "Nothing found"),
    ways.length ? element("ul", "examples", ...ways) : element("p", "", "Try other words, or fewer of them."));
}

/** The month after 2002-08: 2002-09. */
function following(value) {
  const date = new Date(`${value}-01T00:00:00Z`);
  date.setUTCMonth(date.getUTCMonth() + 1);
  return date.toISOString().slice(0, 7);
}
