"""Topics named by a real LLM, and answers that are not names."""

from pathlib import Path

import numpy as np
import pytest

from customir.llm import Engine, Prompt, Sampling, Usage
from customir.progress import Silent
from customir.queries.topic_names import name_by_llm, typical
from customir.queries.topics import Topic
from customir.workspace import Workspace

TOPICS = [
    Topic(("pump", "oil", "leak", "seal"), 40),
    Topic(("leave", "parental", "weeks", "office"), 20),
    Topic((), 5),
]
SAMPLES = [
    ["The oil pump in the boiler room leaks again and the mechanic ordered a new seal."],
    ["Parental leave must be requested at the personnel office seven weeks in advance."],
    ["xx"],
]


def test_the_llm_names_topics_once(smollm: Path, tmp_path: Path) -> None:
    with (
        Workspace(tmp_path) as workspace,
        Engine(smollm, device="cpu", threads=1) as engine,
    ):
        named = name_by_llm(workspace, "analyse", engine, "sha", TOPICS, SAMPLES, Silent())
        assert [(topic.terms, topic.size) for topic in named] == [
            (topic.terms, topic.size) for topic in TOPICS
        ]
        assert all(0 < len(topic.name.split()) <= 6 for topic in named[:2])
        assert len({topic.name for topic in named[:2]}) == 2
        engine.usage = Usage()
        again = name_by_llm(workspace, "generate", engine, "sha", TOPICS, SAMPLES, Silent())
        assert again == named
        assert engine.usage == Usage()


class Says:
    """An LLM that always gives the same answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.usage = Usage()

    def generate(self, prompts: list[Prompt], seeds: list[int], sampling: Sampling) -> list[str]:
        return [self.answer] * len(prompts)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("oil pumps", "oil pumps"),
        ('"Oil pumps".', "Oil pumps"),
        ("", ""),
        ("...", ""),
        ("The group of documents is about oil pumps and seals", ""),
        ("Words: pump, oil", ""),
    ],
)
def test_an_answer_that_is_no_name_leaves_the_words(tmp_path: Path, answer: str, name: str) -> None:
    with Workspace(tmp_path) as workspace:
        (topic, *_) = name_by_llm(
            workspace,
            "analyse",
            Says(answer),
            "sha",
            TOPICS,
            SAMPLES,
            Silent(),  # type: ignore[arg-type]
        )
    assert topic.name == name
    assert topic.title == (name or "pump and oil")


def test_typical_passages_are_those_nearest_to_the_centre() -> None:
    angles = np.array([0.0, 0.1, 0.2, 1.5, 1.3, 1.4, 0.9])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    assert typical(vectors, labels, 1) == [[1], [4]]
    assert [len(rows) for rows in typical(vectors, labels, 3)] == [3, 3]
    assert typical(np.empty((0, 2), np.float32), np.empty(0, np.int64)) == []
