"""The LLM gives each topic a name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from customir.llm import Llm, Prompt, Sampling
from customir.progress import Reporter
from customir.queries.topics import Topic
from customir.text.tokenize import length_of, words_of
from customir.workspace import Unit, Workspace, complete, content_key

SHOWN = 3
SHOWN_WORDS = 12
LONGEST_NAME = 6
SAMPLING = Sampling(temperature=0, max_tokens=12)
INSTRUCTION = (
    "A group of documents has these words in common, and they begin like this. Say in two to four "
    "words what the group is about.\n\n"
    "Words: invoice, refund, payment, licence\n"
    "- Invoice 4471 Dear Mr Osei, we were charged twice for the March licences\n"
    "- Your order of April Please find the reminder for the second payment\n"
    "Topic: invoices and refunds\n\n"
    "Words: backup, cron, disk, restore\n"
    "- Re: nightly backup fails The job dies after about six hours with a broken\n"
    "- disk full on the test box Somebody please clear the archive before the\n"
    "Topic: server backups\n\n"
)


def typical(vectors: np.ndarray, labels: np.ndarray, count: int = SHOWN) -> list[list[int]]:
    """The rows nearest to the centroid of each topic, nearest first.

    Args:
        vectors: float32 (passages, d), unit norm.
        labels: The topic of each passage, int64 (passages,), numbered from 0.
    """
    found = []
    for number in range(int(labels.max(initial=-1)) + 1):
        rows = np.flatnonzero(labels == number)
        near = vectors[rows] @ vectors[rows].mean(axis=0)
        found.append(rows[np.argsort(-near, kind="stable")[:count]].tolist())
    return found


def name_by_llm(
    workspace: Workspace,
    stage: str,
    engine: Llm,
    model_key: str,
    topics: Sequence[Topic],
    samples: Sequence[Sequence[str]],
    reporter: Reporter,
) -> list[Topic]:
    """The topics with names. If the LLM's answer is not a name, the topic only has its words.

    Args:
        model_key: Key of the LLM; part of each name's key.
        samples: Sample texts of each topic.
    """
    prompts = [_prompt(topic, texts) for topic, texts in zip(topics, samples, strict=True)]
    units = [
        Unit(content_key("topic", model_key, prompt.shared, prompt.branch), prompt)
        for prompt in prompts
    ]

    def compute(batch: Sequence[Prompt]) -> list[bytes]:
        return [name.encode() for name in engine.generate(batch, [0] * len(batch), SAMPLING)]

    found = complete(
        workspace, stage, "topic", units, compute, max(1, len(units)), reporter, "naming topics"
    )
    names = [_checked(found[unit.key].decode()) for unit in units]
    return [replace(topic, name=name) for topic, name in zip(topics, names, strict=True)]


def _prompt(topic: Topic, texts: Sequence[str]) -> Prompt:
    lines = [f"Words: {', '.join(topic.terms)}"]
    lines += [f"- {' '.join(text.split()[:SHOWN_WORDS])}" for text in texts]
    return Prompt(INSTRUCTION, "\n".join(lines) + "\n", "Topic:")


def _checked(answer: str) -> str:
    """The answer as a name; empty if it is not one."""
    name = answer.strip(" .\"'*")
    return name if 0 < length_of(words_of(name)) <= LONGEST_NAME and ":" not in name else ""
