"""What is asked of the LLM, how it is batched, and that a kill changes nothing."""

import json
import signal
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from customir.queries.generate import PASSAGES_PER_BATCH, Request, _batches, _Work, requests
from customir.queries.styles import ENGLISH, STYLES
from customir.settings import QuerySettings
from customir.workspace import Unit
from customir.workspace.passages import Passage


def passage(number: int, text: str = "The pump in hall two leaks oil.") -> Passage:
    return Passage(f"{number:032x}", "d", 0, f"{text} {number}", f"{number:032x}", "", f"t{number}")


PASSAGES = [passage(number) for number in range(60)]


def test_each_passage_gets_its_styles_in_turn() -> None:
    planned = requests(PASSAGES, QuerySettings(queries_per_passage=6), 0)
    assert len(planned) == 360
    for _, own in groupby(planned, key=lambda request: request.passage.key):
        asked = list(own)
        first = STYLES.index(asked[0].style)
        in_turn = [STYLES[(first + step) % len(STYLES)] for step in range(6)]
        assert [request.style for request in asked] == in_turn
        assert len({(request.style, request.variant) for request in asked}) == 6
        assert len({request.seed for request in asked}) == 6
        assert len({request.rotation for request in asked}) == 1
    assert all(0 <= request.seed < 2**32 for request in planned)


def test_requests_depend_on_content_and_seed_alone() -> None:
    settings = QuerySettings(queries_per_passage=3)
    planned = requests(PASSAGES, settings, 5)
    assert requests(PASSAGES[::-1], settings, 5) == planned
    assert requests(PASSAGES, settings, 6) != planned
    some = requests(PASSAGES[:20], settings, 5)
    assert [request for request in planned if request in some] == some
    # More queries a passage leave those before as they are.
    more = requests(PASSAGES[:20], QuerySettings(queries_per_passage=6), 5)
    assert set(some) < set(more)


def test_same_rotations_stand_together_and_all_are_used() -> None:
    rotations = [request.rotation for request in requests(PASSAGES, QuerySettings(), 0)]
    assert rotations == sorted(rotations)
    assert set(rotations) == set(range(len(ENGLISH.rotations)))


def units(planned: list[Request]) -> list[Unit[_Work]]:
    return [
        Unit(
            f"{request.passage.key}{request.style}{request.variant}",
            _Work(request, ENGLISH.prompt("x", request.style, request.rotation)),
        )
        for request in planned
    ]


@pytest.mark.parametrize("queries", [1, 4, 7])
def test_batches_hold_whole_passages_of_one_rotation(queries: int) -> None:
    planned = units(requests(PASSAGES, QuerySettings(queries_per_passage=queries), 0))
    batches = _batches(planned)
    assert [unit for batch in batches for unit in batch] == planned
    homes: dict[str, int] = {}
    for number, batch in enumerate(batches):
        assert len({unit.work.prompt.shared for unit in batch}) == 1
        assert 1 <= len({unit.work.request.passage.key for unit in batch}) <= PASSAGES_PER_BATCH
        for unit in batch:
            assert homes.setdefault(unit.work.request.passage.key, number) == number
    # However far a run came, the rest is cut where the whole was.
    for done in range(len(batches)):
        rest = [unit for batch in batches[done:] for unit in batch]
        assert _batches(rest) == batches[done:]
    assert _batches([]) == []


# Two passages a batch; where told to, the run dies when the second batch is to be computed.
RUN = """
import json, os, signal, sys
from pathlib import Path
from customir.workspace.passages import Passage
from customir.llm import Engine
from customir.progress import Silent
from customir.settings import QuerySettings
from customir.queries import generate
from customir.workspace import Workspace
folder, model, dies = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "dies"
generate.PASSAGES_PER_BATCH = 2
class Mortal(Engine):
    calls = 0
    def generate(self, *asked):
        Mortal.calls += 1
        if dies and Mortal.calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(*asked)
subjects = ("pump", "gate", "roof", "lift", "oven")
passages = [Passage(f"{n:032x}", "d", 0, f"The {s} in hall {n} broke on Monday.", s, "", s)
            for n, s in enumerate(subjects)]
settings = QuerySettings(queries_per_passage=2, max_tokens=6, temperature=1.0)
with Workspace(folder) as workspace, Mortal(model, device="cpu", threads=1) as engine:
    workspace.begin_stage("generate", "print")
    there = workspace.database.execute("SELECT count(*) FROM result").fetchone()[0]
    written = generate.generate_queries(
        workspace, "generate", engine, "sha", passages, settings, 0, Silent())
    work = workspace.stage("generate").work[0]
    print(json.dumps({"there": there, "calls": Mortal.calls, "computed": work.computed,
                      "texts": [[w.key, w.request.passage.key, w.text] for w in written]}))
"""


def run(folder: Path, model: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(model), how], capture_output=True, text=True
    )


def test_killed_and_continued_the_queries_are_those_of_one_run(
    smollm: Path, tmp_path: Path
) -> None:
    whole = run(tmp_path / "whole", smollm, "lives")
    assert whole.returncode == 0, whole.stderr
    expected = json.loads(whole.stdout)
    assert expected["there"] == 0
    assert expected["calls"] > 2
    assert len(expected["texts"]) == 10
    assert len({key for key, _, _ in expected["texts"]}) == 10
    assert any(text for _, _, text in expected["texts"])

    killed = run(tmp_path / "killed", smollm, "dies")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    continued = json.loads(run(tmp_path / "killed", smollm, "lives").stdout)
    assert continued["texts"] == expected["texts"]
    assert 0 < continued["there"] < 10
    assert continued["calls"] == expected["calls"] - 1
    assert continued["computed"] == 10

    again = json.loads(run(tmp_path / "killed", smollm, "lives").stdout)
    assert (again["calls"], again["texts"]) == (0, expected["texts"])
