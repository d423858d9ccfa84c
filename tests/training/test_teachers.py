"""Teachers of whole batches: their lists, their unit, and what they do to an embedder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from customir.encoder.torch_encoder import Encoder
from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import teachers
from customir.training.batches import collate
from customir.training.examples import Example, TrainingPassage
from customir.training.teachers import DenseTeacher, FusionTeacher, distillation_targets
from customir.training.trainer import train

TEXTS = {
    "pump": "The pump in hall two is leaking oil again.",
    "invoice": "Invoice 4471 was paid twice by transfer.",
    "lunch": "Lunch is served in the garden at noon.",
    "oslo": "We sold the office in Oslo; the pumps stay there.",
}


def examples() -> list[Example]:
    passages = {key: TrainingPassage(key, text, key, key) for key, text in TEXTS.items()}
    return [Example(f"about the {key}", passage) for key, passage in passages.items()]


def teacher(order: dict[str, list[str]]) -> DenseTeacher:
    """One by which each query finds the passages in this order."""
    queries = {
        example.query: np.array(
            [-order[example.positive.key].index(key) for key in TEXTS], dtype=np.float32
        )
        for example in examples()
    }
    vectors = np.eye(len(TEXTS), dtype=np.float32)
    return DenseTeacher("a teacher", queries, dict(zip(TEXTS.values(), vectors, strict=True)))


def cosines(rows: list[list[float]]) -> np.ndarray:
    """The scores of a teacher whose inner products are `rows`."""
    queries = {str(number): np.array(row) for number, row in enumerate(rows)}
    passages = {str(number): row for number, row in enumerate(np.eye(len(rows[0])))}
    return DenseTeacher("a teacher", queries, passages).scores(list(queries), list(passages))


def test_scores_are_in_units_of_their_spread_within_rows() -> None:
    # Deviations -1, 1, -3, 3: their root mean square is the root of 5.
    found = cosines([[10.0, 12.0], [100.0, 106.0]])
    assert found == pytest.approx(np.array([[10.0, 12.0], [100.0, 106.0]]) / 5**0.5)
    assert cosines([[4.0] * 3] * 2).tolist() == [[4.0] * 3] * 2


def test_a_list_is_the_positive_and_what_the_teacher_finds_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teachers, "WIDTH", 3)
    ring = list(TEXTS)
    # The own passage comes last by this teacher, and stands in the list all the same.
    order = {key: [*ring[n + 1 :], *ring[:n], key] for n, key in enumerate(ring)}
    batch = collate(examples())
    found = distillation_targets(batch, teacher(order))
    keys = [passage.key for passage in batch.passages]
    for number, example in enumerate(examples()):
        listed = [keys[place] for place in found.candidates[number]]
        assert listed == [example.positive.key, *order[example.positive.key][:2]]
        assert found.scores[number].argsort(descending=True).tolist() == [1, 2, 0]


def test_a_large_batch_is_scored_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """65,536 pairs against as many passages would be a matrix of 17 GB."""
    ring = list(TEXTS)
    order = {key: [*ring[n + 1 :], *ring[: n + 1]] for n, key in enumerate(ring)}
    batch = collate(examples())
    whole = distillation_targets(batch, teacher(order))
    asked: list[int] = []

    class Watched(DenseTeacher):
        def scores(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
            asked.append(len(queries))
            return super().scores(queries, passages)

    monkeypatch.setattr(teachers, "PAIRS_AT_ONCE", 3)
    known = teacher(order)
    parts = distillation_targets(batch, Watched("the same", known._queries, known._passages))
    assert asked == [3, 1]
    assert torch.equal(parts.candidates, whole.candidates)
    # Each row is a permutation of the same scores, so each part's unit is the whole's.
    assert torch.allclose(parts.scores, whole.scores)


def test_fusion_adds_words_to_meaning() -> None:
    asked, passages = ["about the pump"], list(TEXTS.values())
    likes_lunch = DenseTeacher(
        "likes lunch",
        {asked[0]: np.ones(1, np.float32)},
        {text: np.array([float("Lunch" in text)], np.float32) for text in passages},
    )
    by_meaning = likes_lunch.scores(asked, passages)
    by_words = FusionTeacher(likes_lunch, passages).scores(asked, passages) - by_meaning
    assert sorted(np.argsort(-by_words[0])[:2].tolist()) == [0, 3], "pump and pumps"
    assert np.square(by_words - by_words.mean()).mean() == pytest.approx(1.0), "in its own unit"
    assert by_meaning[0].argmax() == 2


def test_an_embedder_learns_the_teachers_order_of_the_batch(minilm: Path, tmp_path: Path) -> None:
    """A teacher that finds the next passage best turns the order around that InfoNCE would give."""
    ring = list(TEXTS)
    order = {key: [*ring[n + 1 :], *ring[: n + 1]] for n, key in enumerate(ring)}
    settings = TrainingSettings(
        batch_size=4, epochs=30, precision="fp32", learning_rate=2e-3, distillation_weight=20.0, temperature=0.05,
        teacher_temperature=0.3,
    )  # fmt: skip
    found = []
    for name, who in (("alone", None), ("taught", teacher(order))):
        chosen = settings if who else settings.model_copy(update={"distillation_weight": 0.0})
        result = train(minilm, examples(), chosen, 0, "cpu", tmp_path / name, Silent(), teacher=who)
        encoder = Encoder.load(minilm, precision="fp32")
        PeftModel.from_pretrained(encoder.model, result.adapter)
        queries = encoder.encode([example.query for example in examples()], "query")
        passages = encoder.encode(list(TEXTS.values()))
        found.append((queries @ passages.T).argmax(1).tolist())
    assert found == [[0, 1, 2, 3], [1, 2, 3, 0]]
