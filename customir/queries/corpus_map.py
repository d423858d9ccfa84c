"""A corpus as a scatter plot for people to look at."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from customir.queries.topics import Topic
from customir.workspace import content_key

SHOWN = 1500


def corpus_map(
    texts: Sequence[str], vectors: np.ndarray, labels: np.ndarray, topics: Sequence[Topic]
) -> dict[str, Any]:
    """Project up to SHOWN passages onto their first two principal components.

    The passages are a pseudo-random sample that depends only on their content.

    Args:
        vectors: float32 (texts, d).
        labels: The topic of each text, int64, numbered from 0 in descending order of size.

    Returns:
        "points" is a list of [x, y, topic]; "topics" holds the name of each topic, or its
        characteristic words.
    """
    drawn = sorted(range(len(texts)), key=lambda n: content_key("map", texts[n]))[:SHOWN]
    if len(drawn) < 2:
        return {"points": [], "topics": []}
    centred = vectors[drawn] - vectors[drawn].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary, so its largest weight is made positive.
    plane = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return {
        "points": [
            [round(float(x), 3), round(float(y), 3), int(labels[n])]
            for n, (x, y) in zip(drawn, centred @ plane.T, strict=True)
        ],
        "topics": [(topic.name,) if topic.name else topic.terms for topic in topics],
    }
