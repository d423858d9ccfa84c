"""The library: what `import customir` offers, and an adaptation from a list of texts."""

import subprocess
import sys
from pathlib import Path

import pytest

import customir
from customir.errors import UserError

TOPICS = ("pump", "invoice", "garden", "server", "contract", "lecture")
PLACES = ("Oslo", "Lima", "Cairo", "Perth", "Delhi", "Quito", "Riga", "Accra", "Seoul", "Bern")


def texts() -> list[str]:
    return [
        f"Who repairs the {topic} in {place}? The {topic} of the office in {place} has been out of "
        f"order since Monday, and nobody in {place} has been told when it will be replaced."
        for topic in TOPICS
        for place in PLACES
    ]


def test_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, customir\n"
        "assert not {'numpy', 'torch', 'onnxruntime'} & set(sys.modules)\n"
        "from customir import Embedder, Searcher, put_documents\n"
        "assert 'torch' not in sys.modules\n"
        "from customir import adapt\n"
        "assert set(customir.__all__) == {'adapt', 'Adapted', 'Embedder', 'Searcher', 'put_documents'}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = customir.nothing


def test_a_list_of_texts_is_adapted_embedded_and_searched(
    minilm: Path, smollm: Path, tmp_path: Path
) -> None:
    settings = {
        "queries.passages": 40, "queries.queries_per_passage": 2, "queries.max_tokens": 12,
        "training.epochs": 1, "training.batch_size": 16, "evaluation.interpolation_weights": [1.0],
        "evaluation.reference_model": "", "device": "cpu", "threads": 2,
    }  # fmt: skip
    made = customir.adapt(
        texts(), tmp_path / "out", embedder=str(minilm), llm=str(smollm), settings=settings
    )
    assert made.reason
    assert 0 < made.metrics["base"]["Recall@10"] <= 1
    vectors = customir.Embedder(made.model).encode(["a pump that leaks"], kind="query")
    assert vectors.shape == (1, 384)
    with customir.Searcher(made.folder) as searcher:
        hits = searcher.search("who repairs the pump in Oslo", k=3)
    assert "pump" in hits[0].snippet
    assert "Oslo" in hits[0].snippet


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ([{"body": "x"}], "item 0 of the corpus: give a text"),
        (["a", {"text": "b", "colour": "red"}], "item 1 of the corpus: unknown keys colour"),
        ("/no/such/file", "/no/such/file"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_named(tmp_path: Path, corpus: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        customir.adapt(corpus, tmp_path / "out")  # type: ignore[arg-type]
