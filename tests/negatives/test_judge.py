"""The judge as units of work: order, the cache, and that a kill changes nothing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from customir.llm import Engine
from customir.negatives.judge import (
    EXAMPLES,
    NO_PASSAGE,
    Pair,
    answer_prompt,
    judge,
    relevance,
    search_prompt,
)
from customir.progress import Silent
from customir.workspace import Workspace

TEXTS = ("The pump leaks.", "Lunch is\nat noon.", "We sold the office.")
PAIRS = [Pair(query, text) for query in ("oil leak", "lunch time") for text in TEXTS]


def test_the_prompts_read_like_their_examples() -> None:
    prompt = answer_prompt(Pair("oil leak", "The pump leaks."))
    whole = prompt.shared + prompt.branch + prompt.leaf
    assert whole.endswith("Passage: The pump leaks.\nSearch: oil leak\nRelevant:")
    searched = search_prompt("The pump leaks.")
    assert (searched.branch + searched.leaf) == "Passage: The pump leaks.\nSearch:"
    assert {answer for _, _, answer in EXAMPLES} == {"Yes", "No"}
    for passage, query, answer in EXAMPLES:
        assert f"Passage: {passage}\nSearch: {query}\nRelevant: {answer}\n" in whole
        assert (f"Passage: {passage}\nSearch: {query}\n" in searched.shared) == (answer == "Yes")


def test_a_score_is_what_the_passage_adds_to_the_query_s_likelihood(smollm: Path) -> None:
    with Engine(smollm, device="cpu", threads=1) as engine:
        scores = relevance(engine, PAIRS)
        expected = [
            engine.score([search_prompt(pair.passage.replace("\n", " "))], [f" {pair.query}"])[0]
            - engine.score([search_prompt(NO_PASSAGE)], [f" {pair.query}"])[0]
            for pair in PAIRS
        ]
        assert np.abs(scores - expected).max() < 2
        # Each query belongs to one of the passages, and even this LLM knows to which.
        assert scores[:3].argmax() == 0
        assert scores[3:].argmax() == 1
        long = Pair("oil leak", "The pump leaks. " * 900)
        assert relevance(engine, [long])[0] > scores[1]


def test_in_the_caller_s_order_and_each_pair_once(smollm: Path, tmp_path: Path) -> None:
    with (
        Workspace(tmp_path) as workspace,
        Engine(smollm, device="cpu", threads=1) as engine,
    ):
        odds = judge(workspace, "mine", engine, "sha", PAIRS, Silent())
        assert odds.dtype == np.float64
        assert odds.shape == (6,)
        assert len(set(odds)) == 6
        computed = engine.usage.computed
        assert computed < engine.usage.submitted / 2
        order = [3, 0, 5, 0, 1]
        again = judge(workspace, "mine", engine, "sha", [PAIRS[n] for n in order], Silent())
        assert again.tolist() == odds[order].tolist()
        assert engine.usage.computed == computed
        assert judge(workspace, "mine", engine, "sha", [], Silent()).shape == (0,)
        judge(workspace, "mine", engine, "another sha", PAIRS[:1], Silent())
        assert engine.usage.computed > computed


# Two pairs a batch; where told to, the run dies when the third batch is to be scored: one of
# queries alone, three of pairs.
RUN = """
import json, os, signal, sys
from pathlib import Path
from customir.llm import Engine
from customir.negatives import judge as room
from customir.progress import Silent
from customir.workspace import Workspace
folder, model, dies = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "dies"
pairs = [room.Pair(*pair) for pair in json.load(sys.stdin)]
room.PAIRS_PER_BATCH = 2
class Mortal(Engine):
    calls = 0
    def score(self, *asked):
        Mortal.calls += 1
        if dies and Mortal.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(*asked)
with Workspace(folder) as workspace, Mortal(model, device="cpu", threads=1) as engine:
    odds = room.judge(workspace, "mine", engine, "sha", pairs, Silent())
print(json.dumps([Mortal.calls, odds.tolist()]))
"""


def run(folder: Path, model: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(model), how],
        input=json.dumps([[pair.query, pair.passage] for pair in PAIRS]),
        capture_output=True,
        text=True,
    )


def test_killed_and_continued_the_scores_are_those_of_one_run(smollm: Path, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", smollm, "lives")
    assert whole.returncode == 0, whole.stderr
    calls, odds = json.loads(whole.stdout)
    assert calls == 4
    killed = run(tmp_path / "killed", smollm, "dies")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert json.loads(run(tmp_path / "killed", smollm, "lives").stdout) == [2, odds]
    assert json.loads(run(tmp_path / "killed", smollm, "lives").stdout) == [0, odds]
