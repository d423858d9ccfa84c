// The reading pane: a thread as a conversation, with the passage that was found in it.

import { searchOf, write } from "./address.js";
import { count, element, link, person, time } from "./elements.js";

const WORD = /[\p{L}\p{N}]+/gu;

/** The pane's content. `words`: what is marked, in lower case. */
export function conversation(passages, view, words) {
  const messages = [...Map.groupBy(passages, passage => passage.document).values()];
  const title = element("h1", "", passages[0]?.title || passages[0]?.identifier || "No such conversation");
  title.tabIndex = -1;
  const close = link(searchOf(view), "close", "×");
  close.setAttribute("aria-label", "Close the conversation");
  return [
    element("div", "top",
      element("div", "line", title, close),
      passages.length
        ? element("p", "about",
          messages.length > 1 ? element("span", "", count(messages.length, "message")) : null,
          element("span", "", passages[0].source),
          view.hit ? link(write({ like: view.hit }), "like", "More like this") : null)
        : element("p", "", "It is no longer in the index, or the link is from another one.")),
    ...messages.map(message => messageArticle(message, passages[0].title, view, words)),
  ];
}

function messageArticle(passages, subject, view, words) {
  const [first] = passages;
  const made = element("article", "message",
    element("header", "",
      element("div", "line", person(first.sender) ?? element("span", "sender", first.identifier), time(first.date, { minute: true })),
      first.recipients ? element("p", "about", element("span", "", "to ", person(first.recipients, ""))) : null,
      bare(first.title) !== bare(subject) ? element("h2", "", first.title) : null),
    ...passages.map(passage => passageText(passage, passage.key === view.hit, words)),
    first.attachments?.length ? element("p", "about", element("span", "", `Attached: ${first.attachments.join(", ")}`)) : null);
  if (passages.some(passage => passage.key === view.hit)) made.classList.add("found");
  return made;
}

function passageText(passage, found, words) {
  const made = element("div", found ? "text passage" : "text");
  if (found) made.append(element("span", "unseen", "The passage that was found: "));
  for (const { quoted, lines } of blocks(passage.text)) {
    const text = element("div", "", ...markedWords(lines.join("\n").trim(), words));
    made.append(quoted
      ? element("details", "quoted", element("summary", "", `Quoted text, ${count(lines.length, "line")}`), text) : text);
  }
  return made;
}

/** Runs of lines that are quoted, or not. */
function blocks(text) {
  const made = [];
  for (const line of text.split("\n")) {
    const quoted = line.startsWith(">");
    if (made.at(-1)?.quoted !== quoted) made.push({ quoted, lines: [] });
    made.at(-1).lines.push(line);
  }
  return made.filter(({ lines }) => lines.some(line => line.trim()));
}

function markedWords(text, words) {
  const parts = [];
  let at = 0;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (!words.has(word.toLowerCase())) continue;
    parts.push(text.slice(at, index), element("mark", "", word));
    at = index + word.length;
  }
  return [...parts, text.slice(at)];
}

/** The words that the hits' snippets have marked. */
export function markedIn(hits) {
  const words = new Set();
  for (const { snippet, marks } of hits) {
    const characters = Array.from(snippet);
    for (const [start, end] of marks) {
      for (const word of characters.slice(start, end).join("").match(WORD) ?? []) words.add(word.toLowerCase());
    }
  }
  return words;
}

const bare = title => title.replace(/^(\s*\w{1,3}:)+\s*/i, "").toLowerCase();
