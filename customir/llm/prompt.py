"""Prompts in three parts, so that the parts that prompts share are computed only once."""

from dataclasses import dataclass

# Ends of sentences that are marks of nothing else: full-width ones, Arabic, Urdu and Devanagari.
SENTENCE_ENDS = "\u3002\uff01\uff1f\u061f\u06d4\u0964"


@dataclass(frozen=True)
class Prompt:
    """A completion prompt. The model reads `shared + branch + leaf`.

    Attributes:
        shared: The instruction and its examples; the same for every prompt of a call.
        branch: The part that several prompts have in common (a passage, a query); computed once
            for adjacent prompts with the same branch.
        leaf: The rest (a style's cue, a candidate); ends where the model is to continue.
        chat: Whether the three parts are the user's message in the model's chat template; if not,
            the model continues them as plain text.
    """

    shared: str
    branch: str
    leaf: str
    chat: bool = False


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled. `temperature` 0 means greedy decoding.

    Attributes:
        max_tokens: The maximum length of an answer, which also ends at the first line break.
        top_k: Only this many tokens are considered.
        min_p: Tokens less likely than this share of the likeliest are dropped
            (Nguyen et al. 2024, arXiv 2407.01082).
    """

    temperature: float
    max_tokens: int
    top_k: int = 40
    min_p: float = 0.05


def cut_at_sentence(text: str) -> str:
    """`text` cut after its last sentence, line or word, unless that removes half of it."""
    end = max(map(text.rfind, SENTENCE_ENDS))
    if end > len(text) // 2:
        return text[: end + 1].strip()
    for mark in (". ", "\n", " "):
        end = text.rfind(mark)
        if end > len(text) // 2:
            return text[:end].strip() + ("." if mark == ". " else "")
    return text
