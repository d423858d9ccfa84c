"""Personas: people with different interests in a topic, who may search for a passage."""

from collections.abc import Sequence

import numpy as np

from customir.queries.topics import Topic

ROLES = (
    "a colleague who deals with {}",
    "somebody new to {}",
    "a manager who asks about {}",
    "an outsider who heard of {}",
    "an auditor who looks into {}",
)
NAMELESS = "this matter"


def personas_of(
    keys: Sequence[str], labels: np.ndarray, topics: Sequence[Topic]
) -> dict[str, list[str]]:
    """The personas who may search for each passage, by its key.

    Args:
        labels: The topic of each passage, int64 (len(keys),).
    """
    of_topic = [[role.format(topic.title or NAMELESS) for role in ROLES] for topic in topics]
    return {key: of_topic[label] for key, label in zip(keys, labels.tolist(), strict=True)}
