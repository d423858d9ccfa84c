"""What is asked of the LLM: prompts in three parts, so that what they share is computed once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A completion prompt. The model reads `shared + branch + leaf`.

    Attributes:
        shared: The instruction and its examples; the same for every prompt of a call.
        branch: What several prompts have in common (a passage, a query); computed once for
            neighbours that have the same.
        leaf: The rest (a style's cue, a candidate); ends where the model is to go on.
        chat: The three are what the user says, in the model's own chat template; else the model
            goes on with them as plain text.
    """

    shared: str
    branch: str
    leaf: str
    chat: bool = False


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy.

    Attributes:
        max_tokens: An answer is cut there; it also ends at the first line break.
        top_k: Only this many tokens are considered.
        min_p: Tokens less likely than this share of the likeliest are dropped
            (Nguyen et al. 2024, arXiv 2407.01082).
    """

    temperature: float
    max_tokens: int
    top_k: int = 40
    min_p: float = 0.05


def cut_at_sentence(text: str) -> str:
    """`text` without what follows its last sentence, line or word, unless that is half of it."""
    for mark in (". ", "\n", " "):
        end = text.rfind(mark)
        if end > len(text) // 2:
            return text[:end].strip() + ("." if mark == ". " else "")
    return text
