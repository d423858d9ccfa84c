// What went wrong, and what to do about it.

import { keepToken, token } from "./api.js";
import { button, element } from "./elements.js";

/** A problem as it is shown. `again`: asks once more. */
export function errorBox({ status, message }, again) {
  const [title, text, action] = explained(status, message, again);
  return element("div", "box", element("strong", "", title), element("p", "", text), action);
}

function explained(status, message, again) {
  const tryAgain = button("Try again", again);
  switch (status) {
    case 0: return ["The server does not answer.", "Is “customir serve” still running? If it was started again, open the link that it printed then.", tryAgain];
    case 400: return ["The query cannot be read.", message, null];
    case 401: return [
      token() ? "The server has another token." : "The server’s token is needed.",
      "Open the link that “customir serve” printed; it ends in #token=… and is new at each start. Or paste it here.",
      tokenForm(again)];
    case 403: case 404: return ["The server does not answer this.", message, tryAgain];
    case 429: return ["The server is busy.", message, tryAgain];
    default: return ["The server cannot answer now.", message, tryAgain];
  }
}

function tokenForm(again) {
  const input = element("input", "");
  input.setAttribute("aria-label", "Link or token");
  input.placeholder = "http://…/#token=…";
  input.autocomplete = "off";
  const made = element("form", "token", input, element("button", "", "Continue"));
  made.addEventListener("submit", event => {
    event.preventDefault();
    keepToken(input.value);
    again();
  });
  return made;
}
