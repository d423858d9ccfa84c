"""The model card: README.md of the model folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData

from customir.files import sha256_of, write_atomically

CARD_NAME = "README.md"
SUFFIXES = (".safetensors", ".onnx", ".gguf")


@dataclass(frozen=True)
class Facts:
    """The card's contents that are not in the folder. None of them is text of the corpus.

    Attributes:
        base: Name of the base model.
        licence: Licence of the base, and so of this model; None if it is unknown.
        weight: Interpolation weight of the adapter; if it is 0, the weights are the base's.
        verdict: The reason, in a sentence.
        trained_on: What the adapter learned from, in sentences.
        corpus: Figures of the corpus by name: messages, threads, passages, queries.
        compared: Base and adapted model on held-out queries, a table with its header.
        chain: Each file compared with the one that it was made from, a table with its header.
        int8: The setting of the INT8 file, and what faster settings would have lost.
        settings: The training settings, by name.
    """

    base: str
    licence: str | None
    weight: float
    verdict: str
    trained_on: str
    corpus: Mapping[str, int]
    compared: Sequence[Sequence[str]]
    chain: Sequence[Sequence[str]]
    int8: Sequence[str]
    settings: Mapping[str, object]


def base_licence(base: Path) -> str | None:
    """The licence in the front matter of a model folder's README.md; None if it states none."""
    path = base / CARD_NAME
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    matter = re.match(r"---\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
    licence = matter and re.search(r"^license: *(\S+)", matter[1], re.MULTILINE)
    return licence[1] if licence else None


def write_card(model: Path, facts: Facts) -> Path:
    """Write model/README.md; return its path."""
    path = model / CARD_NAME
    write_atomically(path, _text(model, facts).encode())
    return path


def _text(model: Path, facts: Facts) -> str:
    matter = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "onnx", "customir"],
        license=facts.licence.lower() if facts.licence else "unknown",
    )
    how = (
        f"{facts.weight:g} of {_change(facts)}, added to the base's weights. {facts.trained_on} It was "
        "trained with InfoNCE (CustomIR, arXiv 2510.21729)."
        if facts.weight
        else "The weights are those of the base: no adapted model was significantly better."
    )
    files = [path for path in sorted(model.rglob("*")) if path.suffix in SUFFIXES]
    lines = [
        f"---\n{matter.to_yaml()}\n---",
        f"# {facts.base}, adapted to a private corpus"
        if facts.weight
        else f"# {facts.base}, exported",
        f"Base: {facts.base}. {how} {facts.verdict}",
        "## Corpus",
        _list(facts.corpus),
        "The corpus is private: none of its text is in this card. A model that was tuned on a "
        "corpus may still let somebody guess what is in it; treat the weights as you treat the "
        "corpus.",
        "## Measured",
        "On held-out queries of threads that were never trained on:",
        _table(facts.compared),
        "Each file against the one that it was made from, on held-out queries and a part of the "
        "corpus (`customir export --check DIR` measures it again):",
        _table(facts.chain),
        "INT8 setting: " + ". ".join(facts.int8) + ".",
        "## Files",
        _table(
            [
                ["file", "bytes", "sha256"],
                *(
                    [str(path.relative_to(model)), str(path.stat().st_size), sha256_of(path)]
                    for path in files
                ),
            ]
        ),
        "## Privacy when running it",
        "ONNX Runtime's Linux wheels send telemetry to Microsoft. Set `ORT_DISABLE_TELEMETRY=1` in the "
        "environment before `onnxruntime` is imported. CustomIR's own runtime does this itself.",
        "## Settings",
        _list(facts.settings),
        "## Limits",
        "- The queries of the first table were written by an LLM, not by people.\n"
        "- It knows one corpus. Outside it, expect the base's quality or less; nothing here was "
        "measured there.\n"
        "- Longer texts are cut at the base's limit.\n"
        "- Run by ONNX Runtime, an INT8 vector depends a little on the texts that share its batch; "
        "CustomIR's own kernel, on a processor with AVX512-VNNI, rounds each token by itself and "
        "gives slightly different ones. Don't mix vectors of the INT8 file with those of the others "
        "in one index.",
        "## Licence",
        f"{facts.licence}, as the base."
        if facts.licence
        else "That of the base; its folder does not say which.",
    ]
    return "\n\n".join(lines) + "\n"


def _change(facts: Facts) -> str:
    """What training changed."""
    full = facts.settings.get("full_fine_tuning")
    return "the change by full fine-tuning" if full else "a LoRA adapter (arXiv 2106.09685)"


def _list(figures: Mapping[str, object]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in figures.items())


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *body))
