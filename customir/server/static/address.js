// What the page shows is its address: it can be sent, and Back and Forward work. The token is never in it.

const EMPTY = { q: "", mode: "hybrid", like: "", k: "20", thread: "", hit: "" };

/** What the query part of an address says: query, mode, the passage to find more like, how many hits, open thread and hit. */
export function read(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(Object.entries(EMPTY).map(([name, value]) => [name, given.get(name) || value]));
}

/** The address of `view`; fields that it lacks have their defaults. */
export function write(view) {
  const told = Object.entries(view).filter(([name, value]) => value !== EMPTY[name]);
  return told.length ? "?" + new URLSearchParams(told) : "./";
}

/** The address of the same search without an open conversation. */
export function searchOf(view) {
  return write({ ...view, thread: "", hit: "" });
}
