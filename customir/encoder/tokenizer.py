"""Lower-casing before tokenisation, which `do_lower_case` in sentence-transformers requests."""

import json

from tokenizers import Tokenizer, normalizers  # type: ignore[import-untyped]


def lower_cased(tokenizer: Tokenizer) -> None:
    """Make `tokenizer` lower-case texts first, unless it already does so."""
    if not _lowers(json.loads(tokenizer.to_str())["normalizer"]):
        first = normalizers.Lowercase()
        before = tokenizer.normalizer
        tokenizer.normalizer = normalizers.Sequence([first, before]) if before else first


def _lowers(normalizer: object) -> bool:
    """Whether a normalizer, as tokenizer.json describes it, lower-cases."""
    if not isinstance(normalizer, dict):
        return False
    return (
        normalizer.get("type") == "Lowercase"
        or bool(normalizer.get("lowercase"))
        or any(map(_lowers, normalizer.get("normalizers", ())))
    )
