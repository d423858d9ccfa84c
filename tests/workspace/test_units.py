"""The unit-of-work loop: each missing unit once, in order, a batch a transaction, kill or no kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from customir.progress import Silent, Task
from customir.workspace import Unit, Workspace, complete

UNITS = [Unit(f"k{number}", number) for number in range(10)]


def run(
    workspace: Workspace, units: Sequence[Unit[int]], batch: int = 3
) -> tuple[dict[str, bytes], list[list[int]]]:
    calls: list[list[int]] = []

    def compute(work: Sequence[int]) -> list[bytes]:
        calls.append(list(work))
        return [f"{number}:{len(calls)}".encode() for number in work]

    found = complete(workspace, "s", "query", units, compute, batch, Silent(), "working")
    return found, calls


def test_each_missing_unit_once_in_order(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        some, calls = run(workspace, [UNITS[4], UNITS[1], UNITS[4]])
        assert calls == [[4, 1]]
        found, calls = run(workspace, [*UNITS, *UNITS])
        assert calls == [[0, 2, 3], [5, 6, 7], [8, 9]]
        assert sorted(found) == [unit.key for unit in UNITS]
        assert found["k4"] == some["k4"], "what is there is taken, not made again"
        again, calls = run(workspace, UNITS)
        assert (again, calls) == (found, [])
    with Workspace(tmp_path) as workspace:
        assert run(workspace, UNITS) == (found, [])
        assert run(workspace, []) == ({}, [])


def test_work_is_counted(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.begin_stage("s", "print")
        run(workspace, UNITS[:4])
        run(workspace, UNITS)
        state = workspace.stage("s")
    assert state is not None
    (work,) = state.work
    assert (work.kind, work.done, work.total, work.computed) == ("working", 10, 10, 10)


class Noting(Silent):
    """What a reporter is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str]] = []
        self.steps: list[int] = []

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        self.tasks.append((title, total, unit))
        yield self

    def advance(self, steps: int = 1) -> None:
        self.steps.append(steps)


def test_progress_and_time_are_told_batch_by_batch(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []

    def compute(work: Sequence[int]) -> list[bytes]:
        state = workspace.stage("s")
        assert state is not None
        done.append((state.work[0].done, state.work[0].total))
        time.sleep(0.01)
        return [b"x"] * len(work)

    reporter = Noting()
    with Workspace(tmp_path) as workspace:
        workspace.begin_stage("s", "print")
        run(workspace, UNITS[:2])
        complete(workspace, "s", "query", UNITS, compute, 3, reporter, "working")
        state = workspace.stage("s")
        run(workspace, UNITS)
        again = workspace.stage("s")
    assert reporter.tasks == [("working", 8, "queries")]
    assert reporter.steps == [3, 3, 2]
    assert done == [(2, 10), (5, 10), (8, 10)]
    assert state is not None
    assert again is not None
    assert 0.03 <= state.work[0].seconds < 60
    assert again.work == state.work, "results that are there take no time"


def test_results_that_were_asked_for_since_a_removal_are_not_forgotten(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        run(workspace, UNITS[:3])
        with workspace.transaction():
            workspace.note_removal()
        run(workspace, UNITS[2:5])
        workspace.forget_removed()
        assert sorted(workspace.results(unit.key for unit in UNITS)) == ["k2", "k3", "k4"]


def test_the_caller_may_cut_the_batches(tmp_path: Path) -> None:
    calls: list[list[int]] = []

    def compute(work: Sequence[int]) -> list[bytes]:
        calls.append(list(work))
        return [b""] * len(work)

    with Workspace(tmp_path) as workspace:
        complete(
            workspace, "s", "query", UNITS[:5], compute,
            lambda units: [units[:1], units[1:]], Silent(), "working",
        )  # fmt: skip
    assert calls == [[0], [1, 2, 3, 4]]


def test_a_failing_batch_leaves_those_before_it(tmp_path: Path) -> None:
    def compute(work: Sequence[int]) -> list[bytes]:
        if 7 in work:
            raise RuntimeError("llama_decode failed")
        return [b"x"] * len(work)

    with Workspace(tmp_path) as workspace:
        with pytest.raises(RuntimeError, match="llama_decode"):
            complete(workspace, "s", "query", UNITS, compute, 3, Silent(), "working")
        assert sorted(workspace.results(unit.key for unit in UNITS)) == [
            f"k{number}" for number in range(6)
        ]


def test_a_result_too_few_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        with pytest.raises(ValueError, match="zip"):
            complete(workspace, "s", "query", UNITS, lambda work: [b"x"], 3, Silent(), "working")
        assert workspace.results(unit.key for unit in UNITS) == {}


# Each call is noted down outside the workspace; the run dies in its third batch, half done.
KILLED = """
import os, signal, sys
from pathlib import Path
from customir.progress import Silent
from customir.workspace import Unit, Workspace, complete
folder, dies = Path(sys.argv[1]), sys.argv[2] == "dies"
calls = 0
def compute(work):
    global calls
    calls += 1
    if dies and calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "noted").open("a") as file:
        file.write(" ".join(map(str, work)) + "\\n")
    # What shares a batch decides the result, as with llama.cpp.
    return [repr((number, sum(work))).encode() for number in work]
with Workspace(folder) as workspace:
    units = [Unit(f"k{number}", number) for number in range(10)]
    workspace.begin_stage("s", "print")
    found = complete(workspace, "s", "query", units, compute, 3, Silent(), "working")
    work = workspace.stage("s").work[0]
print(sorted(found.items()), work.done, work.total, work.computed)
"""


def in_a_process(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), how], capture_output=True, text=True
    )


def test_killed_and_run_again_nothing_is_done_twice(tmp_path: Path) -> None:
    whole = in_a_process(tmp_path / "whole", "lives")
    assert whole.returncode == 0, whole.stderr
    killed = in_a_process(tmp_path / "killed", "dies")
    assert killed.returncode == -signal.SIGKILL
    assert not killed.stdout
    resumed = in_a_process(tmp_path / "killed", "lives")
    assert resumed.stdout == whole.stdout
    noted = [(tmp_path / name / "noted").read_text() for name in ("whole", "killed")]
    assert noted[0] == noted[1] == "0 1 2\n3 4 5\n6 7 8\n9\n"
    assert os.path.exists(tmp_path / "killed" / "workspace.db")
