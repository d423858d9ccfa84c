"""The other ways to train: whole weights, queries only, early stopping."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from customir.exporters.merge import merge_adapter
from desks import SETTINGS, examples
from safetensors.torch import load_file

from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import DevQueries, TrainingResult, train, trainer
from customir.training.dev_queries import recall

QUERIES = [example.query for example in examples()[:10]]
PASSAGES = [example.positive.text for example in examples()[:10]]
HELD_OUT = DevQueries(QUERIES, PASSAGES, [frozenset({place}) for place in range(10)])


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def run(
    base: Path, folder: Path, dev: DevQueries | None = None, **settings: object
) -> TrainingResult:
    chosen = TrainingSettings.model_validate({**SETTINGS.model_dump(), **settings})
    return train(base, examples(), chosen, 0, "cpu", folder, Silent(), dev)


def hits(queries: np.ndarray, passages: np.ndarray) -> int:
    return sum(int(row.argmax() == n) for n, row in enumerate(queries @ passages.T))


@pytest.mark.parametrize(("trainable_layers", "precision"), [(0, "fp32"), (2, "fp32"), (2, "bf16")])
def test_full_fine_tuning_learns_and_merges(
    minilm: Path, tmp_path: Path, trainable_layers: int, precision: str
) -> None:
    result = run(
        minilm, tmp_path / "t", full_fine_tuning=True, trainable_layers=trainable_layers, precision=precision,
        learning_rate=2e-4, epochs=4,
    )  # fmt: skip
    assert sum(result.losses[-3:]) < 0.7 * sum(result.losses[:3])
    changed = load_file(result.adapter / "full_model.safetensors")
    assert any("word_embeddings" in name for name in changed) == (trainable_layers == 0)
    assert any(".layer.0." in name for name in changed) == (trainable_layers == 0)
    base = load_file(minilm / "model.safetensors")
    for alpha in (0.5, 1.0):
        merged = load_file(
            merge_adapter(minilm, result.adapter, alpha, tmp_path / f"m{alpha}")
            / "model.safetensors"
        )
        assert merged.keys() == base.keys()
        for name, weight in changed.items():
            wanted = base[name] + alpha * (weight - base[name])
            torch.testing.assert_close(merged[name], wanted)
    encoder = Encoder.load(tmp_path / "m1.0", precision="fp32")
    before = Encoder.load(minilm, precision="fp32")
    assert hits(encoder.encode(QUERIES, "query"), encoder.encode(PASSAGES)) > 2 + hits(
        before.encode(QUERIES, "query"), before.encode(PASSAGES)
    )


def test_full_fine_tuning_resumes_to_the_byte(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(minilm, tmp_path / "a", full_fine_tuning=True, learning_rate=1e-4)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    real, calls = trainer.all_reduce_gradients, []

    def stop(weights: object) -> None:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(weights)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "all_reduce_gradients", stop)
    with pytest.raises(KeyboardInterrupt):
        run(minilm, tmp_path / "b", full_fine_tuning=True, learning_rate=1e-4)
    again = run(minilm, tmp_path / "b", full_fine_tuning=True, learning_rate=1e-4)
    assert len(calls) == 4 + whole.steps - 3
    assert again.losses == whole.losses
    name = "full_model.safetensors"
    assert (again.adapter / name).read_bytes() == (whole.adapter / name).read_bytes()


def test_queries_alone_learn_against_the_bases_passages(minilm: Path, tmp_path: Path) -> None:
    result = run(minilm, tmp_path / "t", freeze_passage_encoder=True, epochs=8)
    base = Encoder.load(minilm, precision="fp32")
    merged = merge_adapter(minilm, result.adapter, 1.0, tmp_path / "m")
    adapted = Encoder.load(merged, precision="fp32")
    passages = base.encode(PASSAGES)
    assert hits(adapted.encode(QUERIES, "query"), passages) > 3 + hits(
        base.encode(QUERIES, "query"), passages
    )
    both = run(minilm, tmp_path / "both", epochs=8)
    assert both.losses[:2] != result.losses[:2]


def test_training_stops_where_held_out_recall_rises_no_more(minilm: Path, tmp_path: Path) -> None:
    reporter = Heard()
    # Ten passages are always among the ten nearest: recall is 1 from the first epoch on.
    settings = SETTINGS.model_copy(update={"early_stopping_patience": 2, "epochs": 9})
    result = train(minilm, examples(), settings, 0, "cpu", tmp_path, reporter, HELD_OUT)
    assert result.steps == 3 * 3
    assert result.dev_recall == 1.0
    assert any("stopped after 9 of 27 steps" in line for line in reporter.said)
    best = run(minilm, tmp_path / "one", epochs=9, early_stopping_patience=1, dev=HELD_OUT)
    name = "adapter_model.safetensors"
    assert (best.adapter / name).read_bytes() == (result.adapter / name).read_bytes(), (
        "both keep the first epoch's weights"
    )
    again = train(minilm, examples(), settings, 0, "cpu", tmp_path, reporter, HELD_OUT)
    assert again.losses == result.losses
    assert run(minilm, tmp_path / "off", dev=HELD_OUT).dev_recall is None


def test_the_best_weights_are_kept_and_measured_without_dropout(
    minilm: Path, tmp_path: Path
) -> None:
    others = [f"Another note, about {word}." for word in ("tea", "rain", "ink", "salt") * 6]
    held_out = replace(HELD_OUT, passages=[*PASSAGES, *others])
    result = run(
        minilm,
        tmp_path / "t",
        epochs=6,
        early_stopping_patience=6,
        dev=held_out,
        lora_dropout=0.3,
    )
    merged = merge_adapter(minilm, result.adapter, 1.0, tmp_path / "m")
    encoder = Encoder.load(merged, precision="fp32", max_tokens=SETTINGS.max_seq_length)
    assert recall(encoder, held_out) == pytest.approx(result.dev_recall)
    passages = Encoder.load(minilm, precision="fp32").encode(held_out.passages)
    assert recall(encoder, held_out, passages) <= 1.0


def test_recall_counts_the_ten_nearest(minilm: Path) -> None:
    encoder = Encoder.load(minilm, precision="fp32")
    texts = [f"note {number} about {word}" for number, word in enumerate(["tea", "rain"] * 10)]
    own = [frozenset({place}) for place in range(20)]
    assert recall(encoder, DevQueries(texts, texts, own)) == 1.0
    far = [frozenset({place, place ^ 1}) for place in range(20)]
    assert recall(encoder, DevQueries(texts, texts, far)) < 1.0


def test_overlong_texts_are_counted_and_reported(minilm: Path, tmp_path: Path) -> None:
    made = examples()
    long = replace(made[0].positive, text="many words in one mail " * 500, key="long")
    reporter = Heard()
    settings = SETTINGS.model_copy(update={"epochs": 1})
    result = train(
        minilm, [replace(made[0], positive=long), *made[1:]], settings, 0, "cpu", tmp_path, reporter
    )
    assert result.truncated == 1
    assert any(
        "1 of 31 texts are longer than training.max_seq_length = 256" in s for s in reporter.said
    )
    assert run(minilm, tmp_path / "short").truncated == 0


def test_fewer_pairs_than_a_batch_are_one_batch(minilm: Path, tmp_path: Path) -> None:
    result = run(minilm, tmp_path, batch_size=512, epochs=2)
    assert (result.steps, result.pairs) == (2, 40)


def test_layers_below_cannot_be_frozen_beyond_the_model(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trainable_layers is 7"):
        run(minilm, tmp_path, full_fine_tuning=True, trainable_layers=7)
