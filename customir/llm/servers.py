"""The LLM on other machines: OpenAI-compatible servers (llama-server, vLLM, llama_cpp.server).

Each prompt is one request to `/v1/completions`, and the next free server takes it. A server that
fails is dropped, and other servers repeat its unfinished requests. The servers' prompt caches avoid
computing common prefixes twice. Judging needs log-probabilities: llama_cpp.server returns them if
it was started with `--logits_all true`, and the other servers always do.
"""

import http.client
import json
import math
import ssl
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from customir.airgap import open_connection
from customir.errors import UserError
from customir.llm.engine import Usage
from customir.llm.prompt import Prompt, Sampling, cut_at_sentence
from customir.settings import llm_addresses

# Concurrent requests per server.
SLOTS = 8
TIMEOUT_SECONDS = 300
# Most of these servers return no more.
TOP_LOGPROBS = 20
# The tokenizer is not available here. A token has about 4 characters in English text and fewer in
# other text.
CHARACTERS_PER_TOKEN = 3
CONTEXT_TOKENS = 2048
Answer = TypeVar("Answer")
FAILURES = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)


class _RefusedError(Exception):
    """A server says that the request itself is wrong (4xx); any other would say the same."""


class _HttpConnection(http.client.HTTPConnection):
    """HTTP over a connection that the network block allows."""

    def connect(self) -> None:
        self.sock = open_connection(self.host.lower(), self.port, TIMEOUT_SECONDS)


class _HttpsConnection(http.client.HTTPConnection):
    """HTTPS over a connection that the network block allows; the certificate is verified here."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        connection = open_connection(self.host.lower(), self.port, TIMEOUT_SECONDS)
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(connection, server_hostname=self.host)


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req)


class Servers:
    """One model behind several servers, with the interface of an `Engine`.

    Args:
        urls: "http://host:port", with or without "/v1".

    Attributes:
        model: The name that the first server gives its model.

    Raises:
        UserError: no server answers.
    """

    chat_frame = None

    def __init__(self, urls: Sequence[str]) -> None:
        llm_addresses(urls)
        self.usage = Usage()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _HttpHandler(), _HttpsHandler()
        )
        self._alive = [url.rstrip("/").removesuffix("/v1") for url in urls]
        self._last_error = ""
        self._lock = threading.Lock()
        names: dict[str, str] = {}
        for url in list(self._alive):
            try:
                names[url] = str(self._request(f"{url}/v1/models")["data"][0]["id"])
            except (*FAILURES, _RefusedError) as error:
                self._drop(url, error)
        self._require_one()
        self.model = names[self._alive[0]]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open between requests."""

    def count_tokens(self, text: str) -> int:
        """An estimate that is usually too high."""
        return math.ceil(len(text) / CHARACTERS_PER_TOKEN)

    def truncate(self, text: str, tokens: int) -> str:
        """The beginning of `text`: at most about `tokens` tokens, cut after a sentence or word."""
        if self.count_tokens(text) <= tokens:
            return text
        return cut_at_sentence(text[: tokens * CHARACTERS_PER_TOKEN].strip())

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many more tokens `prompt` may have in a context of CONTEXT_TOKENS."""
        return CONTEXT_TOKENS - self.count_tokens(_whole(prompt)) - max_tokens

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[str]:
        """Complete each prompt up to the first line break, like `Engine.generate`."""
        bodies = [
            {
                "prompt": _whole(prompt),
                "max_tokens": sampling.max_tokens,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": 1.0,
                "min_p": sampling.min_p,
                "seed": seed % 2**31,
                "stop": ["\n"],
            }
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return self._distribute(bodies, lambda choice: str(choice["text"]).split("\n")[0].strip())

    def choice(self, prompts: Sequence[Prompt], first: str, second: str) -> list[float]:
        """Log-odds of `first` against `second`, like `Engine.choice`, from the likeliest tokens.

        An answer that is not among them gets the probability of the least likely of them.
        """

        def odds(choice: Any) -> float:
            likely = _top_logprobs(choice["logprobs"])
            return _mass(likely, first) - _mass(likely, second)

        bodies = [
            {
                "prompt": _whole(prompt),
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": TOP_LOGPROBS,
            }
            for prompt in prompts
        ]
        return self._distribute(bodies, odds)

    def _distribute(
        self, bodies: Sequence[dict[str, Any]], read: Callable[[Any], Answer]
    ) -> list[Answer]:
        """Send the bodies to whichever server is free, and return the answers in order.

        Raises:
            UserError: no server is left, or one says that a request is wrong.
        """
        answers: dict[int, Answer] = {}
        refused: list[_RefusedError] = []

        def work(url: str, waiting: deque[int]) -> None:
            while not refused and url in self._alive:
                try:
                    number = waiting.popleft()
                except IndexError:
                    return
                try:
                    answer = self._request(f"{url}/v1/completions", bodies[number])
                    value = read(answer["choices"][0])
                except _RefusedError as error:
                    refused.append(error)
                except FAILURES as error:
                    self._drop(url, error)
                else:
                    with self._lock:
                        answers[number] = value
                        self._count(answer.get("usage") or {})

        while len(answers) < len(bodies):
            self._require_one()
            # The unfinished requests of a dropped server wait for the next iteration of this loop.
            waiting = deque(number for number in range(len(bodies)) if number not in answers)
            workers = [
                threading.Thread(target=work, args=(url, waiting), daemon=True)
                for url in list(self._alive)
                for _ in range(SLOTS)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if refused:
                raise UserError(f"the LLM's server refused a request: {refused[0]}")
        return [answers[number] for number in range(len(bodies))]

    def _request(self, url: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace")
            if error.code < 500:
                raise _RefusedError(f"{url}: {error.code} {said}") from error
            raise OSError(f"{error.code} {said}") from error

    def _drop(self, url: str, error: Exception) -> None:
        with self._lock:
            self._last_error = f"{url}: {error or type(error).__name__}"
            if url in self._alive:
                self._alive.remove(url)

    def _require_one(self) -> None:
        if not self._alive:
            raise UserError(
                f"no LLM server is left; the last one failed with: {self._last_error}. "
                "Start them and run the same command again: it continues where it stopped."
            )

    def _count(self, usage: dict[str, Any]) -> None:
        details = usage.get("prompt_tokens_details") or {}
        asked, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        self.usage.submitted += asked
        self.usage.written += written
        self.usage.computed += asked - (details.get("cached_tokens") or 0) + written


def _whole(prompt: Prompt) -> str:
    if prompt.chat:
        raise ValueError("a chat prompt can't be completed by a server")
    return prompt.shared + prompt.branch + prompt.leaf


def _top_logprobs(given: Any) -> list[tuple[str, float]]:
    """The likeliest first tokens, from a response of the old API or of llama-server."""
    if "content" in given:
        return [(top["token"], top["logprob"]) for top in given["content"][0]["top_logprobs"]]
    return list(given["top_logprobs"][0].items())


def _mass(likely: Sequence[tuple[str, float]], word: str) -> float:
    """The log-probability that the answer is `word`, in any case, with or without a space."""
    found = [logprob for token, logprob in likely if token.strip().lower() == word.lower()]
    if not found:
        return min(logprob for _, logprob in likely)
    return math.log(math.fsum(map(math.exp, found)))
