// Elements and the texts in them. What comes from the corpus goes in as text, never as HTML.

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { ...DAY.resolvedOptions(), hour: "2-digit", minute: "2-digit" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
const LANGUAGES = new Intl.DisplayNames("en", { type: "language", fallback: "code" });

/** <name class=kind> with these children; a missing child is left out. */
export function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A link within the page. */
export function link(address, kind, ...children) {
  const made = element("a", kind, ...children);
  made.setAttribute("href", address);
  return made;
}

export function button(text, act) {
  const made = element("button", "", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** A date of ISO 8601 as a <time>, with the minute or without; null where there is none. All times are UTC, as in filters. */
export function time(date, { minute = false } = {}) {
  if (Number.isNaN(Date.parse(date))) return null;
  const made = element("time", "", (minute ? MINUTE : DAY).format(new Date(date)));
  made.dateTime = date;
  return made;
}

export const month = value => MONTH.format(new Date(`${value}-01T00:00:00Z`));

export function language(code) {
  try { return LANGUAGES.of(code); } catch { return code; }
}

/** "Ann Lee" of "Ann Lee <ann@example.org>"; else what is given. */
export const nameOf = sender => /^\s*"?(.*?)"?\s*<[^<>]*>\s*$/.exec(sender)?.[1] || sender;

/** The names of a To header; commas in quotes part nobody. */
export const namesOf = recipients =>
  recipients.split(/[,\n](?=(?:[^"]*"[^"]*")*[^"]*$)/).map(one => nameOf(one.trim())).filter(Boolean).join(", ");

/** The address of a sender, or null. */
export const addressOf = sender => /<([^<>\s]+@[^<>\s]+)>/.exec(sender)?.[1] ?? null;

/** A sender's name, with the address as its tooltip; null where there is none. */
export function person(sender) {
  if (!sender) return null;
  const made = element("span", "sender", nameOf(sender));
  if (nameOf(sender) !== sender) made.title = sender;
  return made;
}

/** "1 message", "2 messages". */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Text with these parts marked: (start, end) in characters, where JavaScript's strings count UTF-16 units. */
export function marked(text, marks) {
  const characters = Array.from(text), parts = [];
  let at = 0;
  for (const [start, end] of marks) {
    parts.push(characters.slice(at, start).join(""), element("mark", "", characters.slice(start, end).join("")));
    at = end;
  }
  return [...parts, characters.slice(at).join("")];
}
