// The reading pane: a thread as a conversation, with the passage that was found in it.

import { searchOf, write } from "./address.js";
import { count, element, link, namesOf, person, time } from "./elements.js";

const WORD = /[\p{L}\p{N}]+/gu;

/** The pane's content. `words`: what is marked, in lower case. */
export function conversation({ documents, passages }, view, words) {
  const [first] = documents;
  const title = element("h1", "", first?.title || first?.identifier || "No such conversation");
  title.tabIndex = -1;
  const close = link(searchOf(view), "close", "×");
  close.setAttribute("aria-label", "Close the conversation");
  const found = passages.find(passage => passage.key === view.hit);
  return [
    element("div", "top",
      element("div", "line", title, close),
      first
        ? element("p", "about",
          documents.length > 1 ? element("span", "", count(documents.length, "message")) : null,
          element("span", "", first.source),
          found ? link(write({ like: found.key }), "like", "More like this") : null)
        : element("p", "", "It is no longer in the index, or the link is from another one.")),
    ...documents.map(message => messageArticle(message, first.title, found?.document === message.key ? found : null, words)),
  ];
}

function messageArticle(message, subject, found, words) {
  return element("article", found ? "message found" : "message",
    element("header", "",
      element("div", "line", person(message.sender) ?? element("span", "sender", message.identifier), time(message.date, { minute: true })),
      message.recipients ? element("p", "about", element("span", "", `to ${namesOf(message.recipients)}`)) : null,
      bare(message.title) !== bare(subject) ? element("h2", "", message.title) : null),
    ...messageText(message.text, found?.text, words),
    message.attachments.length ? element("p", "about", element("span", "", `Attached: ${message.attachments.join(", ")}`)) : null);
}

/** What is before the passage, the passage, and what is after it. */
function messageText(text, passage, words) {
  const start = passage ? text.indexOf(passage) : -1;
  if (start < 0) return [element("div", "text", ...paragraphs(text, words))];
  const before = text.slice(0, start), after = text.slice(start + passage.length);
  return [
    before.trim() && element("div", "text", ...paragraphs(before, words)),
    element("div", "text passage", element("span", "unseen", "The passage that was found: "), ...paragraphs(passage, words)),
    after.trim() && element("div", "text", ...paragraphs(after, words)),
  ];
}

/** The text with what it quotes folded. */
function paragraphs(text, words) {
  return blocks(text).map(({ quoted, lines }) => {
    const shown = element("div", "", ...markedWords(lines.join("\n").trim(), words));
    return quoted ? element("details", "quoted", element("summary", "", `Quoted text, ${count(lines.length, "line")}`), shown) : shown;
  });
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
