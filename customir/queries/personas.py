"""Who may look for a passage: people of different standing to what the corpus is about."""

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


def personas(
    keys: Sequence[str], labels: np.ndarray, topics: Sequence[Topic]
) -> dict[str, list[str]]:
    """Each passage's possible searchers, by its key.

    Args:
        labels: The topic of each passage, int64 (len(keys),).
    """
    of_topic = [[role.format(topic.title or NAMELESS) for role in ROLES] for topic in topics]
    return {key: of_topic[label] for key, label in zip(keys, labels.tolist(), strict=True)}
