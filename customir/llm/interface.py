"""The interface of an LLM that the stages use, on this machine or on others."""

from collections.abc import Sequence
from typing import Protocol

from customir.llm.engine import Usage
from customir.llm.prompt import Prompt, Sampling


class Llm(Protocol):
    """An `Engine` or `Servers`, whose methods are documented in more detail."""

    usage: Usage

    def count_tokens(self, text: str) -> int:
        """The number of the model's tokens in `text`."""

    def truncate(self, text: str, tokens: int) -> str:
        """The beginning of `text`: at most `tokens` tokens, cut after a sentence or word."""

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many more tokens `prompt` may have if its answer has `max_tokens`."""

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[str]:
        """Complete each prompt up to the first line break."""

    def choice(self, prompts: Sequence[Prompt], first: str, second: str) -> list[float]:
        """Log-odds, in nats, that each prompt continues with `first` rather than `second`."""
