// Asks the server, with the token of the link that it printed.

const ANOTHER_TAB = 200; // milliseconds in which another tab has to answer

/** What went wrong: an HTTP status, or 0 where there was no answer; and the server's message. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = () => sessionStorage.getItem("token");

/** Keep the token of a link that ends in #token=… for this tab; the address loses it at once. Whether there was one. */
export function takeToken() {
  const linked = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!linked) return false;
  sessionStorage.setItem("token", linked);
  history.replaceState(history.state, "", location.pathname + location.search);
  return true;
}

/** Keep a token that was typed, or the one in a pasted link. */
export function keepToken(text) {
  sessionStorage.setItem("token", /[#&]token=([^&\s]+)/.exec(text)?.[1] ?? text.trim());
}

// A hit that is opened in a new tab asks the other tabs of this server for the token.
const tabs = new BroadcastChannel("token");
tabs.addEventListener("message", ({ data }) => {
  if (data.wanted && token()) tabs.postMessage({ token: token() });
  if (data.token && !token()) sessionStorage.setItem("token", data.token);
});

async function askOtherTabs() {
  tabs.postMessage({ wanted: true });
  for (const end = Date.now() + ANOTHER_TAB; !token() && Date.now() < end;) await new Promise(done => setTimeout(done, 5));
}

/** The answer to GET `path?fields`. Throws a Problem, or what `signal` throws. */
export async function ask(path, fields, signal) {
  const address = `${path}?${new URLSearchParams(fields)}`;
  let answer, content;
  try {
    answer = await get(address, signal);
    if (answer.status === 401 && !token()) {
      await askOtherTabs();
      if (token()) answer = await get(address, signal);
    }
    content = await answer.json();
  } catch (error) {
    signal.throwIfAborted();
    throw new Problem(answer?.status ?? 0, answer?.statusText ?? "");
  }
  if (!answer.ok) throw new Problem(answer.status, content.error?.message ?? answer.statusText);
  return content;
}

function get(address, signal) {
  return fetch(address, { headers: token() ? { Authorization: `Bearer ${token()}` } : {}, signal });
}
