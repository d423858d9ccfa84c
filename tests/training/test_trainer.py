"""Training end to end on MiniLM: it learns, resumes to the byte, and says what is wrong."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from desks import SETTINGS, examples
from peft import PeftModel

from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import Example, checkpoint, train, trainer


def run(base: Path, folder: Path, settings: TrainingSettings = SETTINGS, seed: int = 0) -> Path:
    return train(base, examples(), settings, seed, "cpu", folder, Silent()).adapter


def bytes_of(adapter: Path) -> bytes:
    return (adapter / "adapter_model.safetensors").read_bytes()


def test_it_learns_and_peft_loads_what_it_wrote(minilm: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 8})
    result = train(minilm, examples(), settings, 0, "cpu", tmp_path, Silent())
    assert result.steps == len(result.losses) == 24
    assert result.pairs == 160
    assert sum(result.losses[-3:]) < 0.5 * sum(result.losses[:3])
    encoder = Encoder.load(minilm, precision="fp32")
    queries = [example.query for example in examples()[:10]]
    passages = [example.positive.text for example in examples()[:10]]

    def hits() -> int:
        scores = encoder.encode(queries, "query") @ encoder.encode(passages).T
        return sum(int(row.argmax() == n) for n, row in enumerate(scores))

    before = hits()
    PeftModel.from_pretrained(encoder.model, result.adapter)
    assert hits() > before + 3
    for path in [tmp_path / checkpoint.NAME, *result.adapter.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_two_runs_of_one_seed_are_equal_and_of_another_are_not(
    minilm: Path, tmp_path: Path
) -> None:
    first = bytes_of(run(minilm, tmp_path / "a"))
    assert first == bytes_of(run(minilm, tmp_path / "b"))
    assert first != bytes_of(run(minilm, tmp_path / "c", seed=1))


def test_killed_and_run_again_it_comes_to_the_same_bytes(minilm: Path, tmp_path: Path) -> None:
    whole = train(minilm, examples(), SETTINGS, 0, "cpu", tmp_path / "whole", Silent())
    script = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parents[up]) for up in (0, 1)]!r}\n"
        "import test_trainer; from pathlib import Path; from customir.training import trainer\n"
        "trainer.CHECKPOINT_SECONDS = 0\n"
        f"test_trainer.run(Path({str(minilm)!r}), Path({str(tmp_path / 'killed')!r}))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    path = tmp_path / "killed" / checkpoint.NAME
    while not path.exists() and child.poll() is None:
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert path.exists()
    assert not (tmp_path / "killed" / "adapter").exists(), "it was killed too late to prove much"
    again = train(minilm, examples(), SETTINGS, 0, "cpu", tmp_path / "killed", Silent())
    assert again.losses == whole.losses
    assert bytes_of(again.adapter) == bytes_of(whole.adapter)


def test_a_finished_run_is_not_done_again(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(minilm, tmp_path)
    made = bytes_of(first)
    monkeypatch.setattr(trainer, "accumulate_gradient", None)
    assert bytes_of(run(minilm, tmp_path)) == made


def test_a_checkpoint_of_other_data_or_a_damaged_one_is_ignored(
    minilm: Path, tmp_path: Path
) -> None:
    wanted = bytes_of(run(minilm, tmp_path / "clean"))
    run(minilm, tmp_path / "used", seed=1)
    assert bytes_of(run(minilm, tmp_path / "used")) == wanted
    (tmp_path / "used" / checkpoint.NAME).write_bytes(b"half a fi")
    assert bytes_of(run(minilm, tmp_path / "used")) == wanted


def test_empty_texts_are_left_out_and_too_few_are_an_error(minilm: Path, tmp_path: Path) -> None:
    first, second = examples()[:2]
    empty = [
        replace(first, query=" "),
        replace(second, positive=replace(second.positive, text="\n")),
        replace(first, negatives=(replace(first.positive, key="x", text=""),)),
    ]
    result = train(minilm, [*empty, second], SETTINGS, 0, "cpu", tmp_path, Silent())
    assert result.skipped == 2
    assert result.pairs == 2 * SETTINGS.epochs
    with pytest.raises(UserError, match="at least 2 examples"):
        train(minilm, empty, SETTINGS, 0, "cpu", tmp_path, Silent())


def test_a_loss_that_is_no_number_stops_with_advice(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learning_rate.*fp32"):
        run(
            minilm,
            tmp_path,
            SETTINGS.model_copy(update={"learning_rate": 1e30, "trainable_layers": 2}),
        )
    assert not list(tmp_path.glob("frozen*")), "passages' states are not left behind"


def test_trainable_layers_train_and_resume_like_the_rest(minilm: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"trainable_layers": 2})
    result = train(minilm, examples(), settings, 0, "cpu", tmp_path, Silent())
    assert sum(result.losses[-3:]) < sum(result.losses[:3])
    assert not list(tmp_path.glob("frozen*"))
    with pytest.raises(UserError, match="trainable_layers is 9"):
        run(minilm, tmp_path, SETTINGS.model_copy(update={"trainable_layers": 9}))


def test_out_of_memory_halves_the_budget_and_goes_on(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 100
    real = Encoder.embed

    def small_machine(self: Encoder, tokens: list[list[int]]) -> torch.Tensor:
        if sum(map(len, tokens)) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, tokens)

    settings = SETTINGS.model_copy(update={"lora_dropout": 0.0})
    exact = train(minilm, examples(), settings, 0, "cpu", tmp_path / "large", Silent())
    monkeypatch.setattr(Encoder, "embed", small_machine)
    said: list[str] = []
    reporter = Silent()
    monkeypatch.setattr(reporter, "say", said.append)
    result = train(minilm, examples(), settings, 0, "cpu", tmp_path / "small", reporter)
    assert [line for line in said if "mini_batch_num_tokens = 64" in line]
    assert result.losses == pytest.approx(exact.losses, rel=1e-3)
    limit = 1
    with pytest.raises(torch.OutOfMemoryError):
        train(minilm, examples(), settings, 1, "cpu", tmp_path / "none", Silent())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("trainable_layers", [0, 2])
def test_a_gpu_trains_what_a_cpu_trains(
    minilm: Path, tmp_path: Path, trainable_layers: int
) -> None:
    settings = SETTINGS.model_copy(
        update={"lora_dropout": 0.0, "trainable_layers": trainable_layers}
    )
    losses = [
        train(minilm, examples(), settings, 0, device, tmp_path / device, Silent()).losses
        for device in ("cpu", "cuda")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_one_thread_alone_has_nothing_to_contrast(minilm: Path, tmp_path: Path) -> None:
    alone = [
        Example(example.query, replace(example.positive, thread="t")) for example in examples()
    ]
    with pytest.raises(UserError, match="one thread"):
        train(minilm, alone, SETTINGS, 0, "cpu", tmp_path, Silent())


def test_one_text_longer_than_the_window_is_cut(minilm: Path, tmp_path: Path) -> None:
    long = replace(examples()[0].positive, text="many words in one mail " * 500)
    settings = SETTINGS.model_copy(update={"epochs": 1})
    made = [replace(examples()[0], positive=long), *examples()[1:4]]
    assert train(minilm, made, settings, 0, "cpu", tmp_path, Silent()).steps == 1


def test_the_margin_leaves_negatives_out(minilm: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, "lora_dropout": 0.0})
    loose = train(minilm, examples(), settings, 0, "cpu", tmp_path / "a", Silent())
    settings = settings.model_copy(update={"absolute_margin": 0.0})
    tight = train(minilm, examples(), settings, 0, "cpu", tmp_path / "b", Silent())
    assert tight.losses[0] < loose.losses[0]
