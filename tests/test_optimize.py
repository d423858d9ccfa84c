"""Requantised weights on a real model: measured, compared with the original, kept or thrown away."""

from pathlib import Path

import numpy as np
import pytest

from customir.errors import UserError
from customir.files import sha256_of
from customir.llm import Engine, Prompt
from customir.llm.requantize import Speed, kept_beside, requantize
from customir.optimize import (
    Candidate,
    advice,
    agreement_of,
    builtin_pairs,
    optimize,
    workspace_pairs,
)
from customir.progress import Silent
from customir.workspace import Workspace


def test_agreement_is_on_the_side_of_the_original_s_median() -> None:
    reference = np.array([-3.0, -1.0, 2.0, 5.0])
    assert agreement_of(reference, reference) == 1.0
    assert agreement_of(reference * 0.9 + 0.1, reference) == 1.0
    assert agreement_of(np.array([-3.0, 4.0, 2.0, 5.0]), reference) == 0.75
    assert agreement_of(-reference, reference) == 0.0


def test_the_builtin_pairs_are_half_relevant() -> None:
    pairs = builtin_pairs()
    assert len(pairs) == len(set(pairs)) == 48
    assert len({pair.passage for pair in pairs}) == 6


def test_speed_weighs_reading_and_writing_alike() -> None:
    slow = Candidate("original", 1.0, Speed(100.0, 50.0), 1.0)
    fast = Candidate("q4_0", 1.0, Speed(400.0, 50.0), 0.97)
    assert fast.faster_than(slow) == pytest.approx(2.0)
    assert slow.holds
    assert not fast.holds


def test_the_fastest_that_judges_alike_is_kept_under_its_own_hash(
    smollm: Path, tmp_path: Path
) -> None:
    model = tmp_path / "small.gguf"
    model.symlink_to(smollm)
    assert advice(model, "small") is not None
    left = tmp_path / ".small.optimizing-killed"
    left.mkdir()
    (left / "q4_0.gguf").write_bytes(b"half")
    done = optimize(model, builtin_pairs()[:8], 1, Silent())
    assert [candidate.name for candidate in done.candidates] == ["original", "q4_0", "q8_0"]
    assert all(c.speed.prefill > 0 and c.speed.decode > 0 for c in done.candidates)
    assert all(0 <= c.agreement <= 1 for c in done.candidates)
    assert done.candidates[0].agreement == 1.0
    rivals = [c for c in done.candidates[1:] if c.holds and c.faster_than(done.candidates[0]) > 1.1]
    files = sorted(path for path in tmp_path.iterdir() if path != model)
    if not rivals:
        assert (done.path, files) == (model, [])
        return
    assert files == [done.path] == kept_beside(model)
    assert done.path.stat().st_mode & 0o777 == 0o600
    assert sha256_of(done.path)[:12] in done.path.name
    assert str(done.path) in str(advice(model, "small"))
    assert advice(done.path, "it") is None
    with Engine(done.path, device="cpu", threads=1) as engine:
        assert len(engine.choice([Prompt("", "", "red or blue:")], "red", "blue")) == 1


def test_what_can_t_be_requantised_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(UserError, match=r"bad\.gguf"):
        requantize(bad, tmp_path / "made.gguf", "q4_0", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.gguf"]


def test_a_workspace_without_queries_is_named(tmp_path: Path) -> None:
    Workspace(tmp_path / "mail").close()
    with pytest.raises(UserError, match="customir generate"):
        workspace_pairs(tmp_path / "mail")
