"""What an LLM does for the stages, here or on other machines."""

from collections.abc import Sequence
from typing import Protocol

from customir.llm.engine import Usage
from customir.llm.prompt import Prompt, Sampling


class Llm(Protocol):
    """An `Engine`, or `Servers`. Their methods say more."""

    usage: Usage

    def count_tokens(self, text: str) -> int:
        """How many tokens the model makes of `text`."""

    def truncate(self, text: str, tokens: int) -> str:
        """The start of `text`, at most `tokens` long, cut after a sentence or word."""

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many more tokens `prompt` may have, where an answer has `max_tokens`."""

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[str]:
        """Complete each prompt up to the first line break."""

    def choice(self, prompts: Sequence[Prompt], first: str, second: str) -> list[float]:
        """Log-odds, in nats, of each prompt going on with `first` rather than `second`."""
