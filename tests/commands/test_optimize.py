"""Requantised weights on a real model: measured, compared with the original, kept or thrown away."""

from pathlib import Path

import pytest

from customir.commands.optimize import builtin_pairs, optimize, workspace_pairs
from customir.errors import UserError
from customir.files import sha256_of
from customir.llm import Engine, Prompt
from customir.llm.formats import MIN_QUERIES, Candidate, advice, try_formats, worth_trying
from customir.llm.requantize import FORMATS, Speed, kept_beside, requantize
from customir.progress import Silent
from customir.workspace import Workspace


def test_the_builtin_pairs_are_half_relevant() -> None:
    pairs = builtin_pairs()
    assert len(pairs) == len({judged.pair for judged in pairs}) == 60
    assert len({judged.pair.passage for judged in pairs}) == 6
    assert sum(judged.relevant for judged in pairs) == 30


def test_speed_weighs_reading_and_writing_alike() -> None:
    slow = Candidate("original", 1.0, Speed(100.0, 50.0), 1.0)
    fast = Candidate("q4_0", 1.0, Speed(400.0, 50.0), 0.97)
    assert fast.faster_than(slow) == pytest.approx(2.0)
    assert slow.holds
    assert not fast.holds
    assert not Candidate("q8_0", 1.0, Speed(1.0, 1.0), None).holds


def test_the_fastest_that_judges_alike_is_kept_under_its_own_hash(
    smollm: Path, tmp_path: Path
) -> None:
    model = tmp_path / "small.gguf"
    model.symlink_to(smollm)
    assert advice(model, "small", None) is None
    assert "customir models optimize small" in str(advice(model, "small", ("q4_0", 2.5)))
    assert advice(model, "small", ("original", 1.0)) is None
    left = tmp_path / ".small.optimizing-killed"
    left.mkdir()
    (left / "q4_0.gguf").write_bytes(b"half")
    done = optimize(model, builtin_pairs()[:10], 1, Silent())
    assert [candidate.name for candidate in done.candidates] == ["original", *FORMATS]
    assert all(c.speed.prefill > 0 and c.speed.decode > 0 for c in done.candidates)
    assert all(c.agreement is None or 0 <= c.agreement <= 1 for c in done.candidates)
    assert done.candidates[0].agreement == 1.0
    rivals = [c for c in done.candidates[1:] if c.holds and c.faster_than(done.candidates[0]) > 1.1]
    files = sorted(path for path in tmp_path.iterdir() if path != model)
    if not rivals:
        assert (done.path, files) == (model, [])
        return
    assert files == [done.path] == kept_beside(model)
    assert done.path.stat().st_mode & 0o777 == 0o600
    assert sha256_of(done.path)[:12] in done.path.name
    assert str(done.path) in str(advice(model, "small", None))
    assert not worth_trying(model, 10_000)
    assert not worth_trying(done.path, 10_000)
    with Engine(done.path, device="cpu", threads=1) as engine:
        assert len(engine.choice([Prompt("", "", "red or blue:")], "red", "blue")) == 1


def test_formats_are_tried_and_nothing_is_left(smollm: Path, tmp_path: Path) -> None:
    model = tmp_path / "small.gguf"
    model.symlink_to(smollm)
    assert worth_trying(model, MIN_QUERIES)
    assert not worth_trying(model, MIN_QUERIES - 1)
    name, factor = try_formats(model, 1, tmp_path)
    assert name in ("original", *FORMATS)
    assert factor >= 1
    assert list(tmp_path.iterdir()) == [model]


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
