// The terms of a query, as far as the page itself adds and removes them: from:ann, "paid twice", -draft.

const TERM = /(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+/g;

/** A condition as it is typed; the name "phrase" has no operator. */
export function term(name, value, negated = false) {
  const quoted = name === "phrase" || /[\s"\\]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value;
  return `${negated ? "-" : ""}${name === "phrase" ? "" : `${name}:`}${quoted}`;
}

export function has(query, wanted) {
  return terms(query).some(each => same(each, wanted));
}

export function add(query, ...wanted) {
  return [query, ...wanted.filter(each => !has(query, each))].filter(Boolean).join(" ");
}

export function remove(query, ...unwanted) {
  return terms(query).filter(each => !unwanted.some(one => same(one, each))).join(" ");
}

const terms = query => query.match(TERM) ?? [];

/** Whether two terms mean the same: quotes are needed around blanks alone. */
function same(one, other) {
  const plain = text => text.replace(/["\\]/g, "").toLowerCase();
  return plain(one) === plain(other);
}
