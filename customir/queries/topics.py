"""The topics of a corpus: clusters of the base embeddings and their characteristic words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import CountVectorizer
from threadpoolctl import threadpool_limits

MOST_TOPICS = 24
PASSAGES_PER_TOPIC = 25
TERMS = 4
PERIODS = 8


@dataclass(frozen=True)
class Topic:
    """A cluster.

    Attributes:
        terms: The words that distinguish it from the other topics, the most characteristic first.
        name: The LLM's name for it; empty if the LLM was not asked or gave no name.
    """

    terms: tuple[str, ...]
    size: int
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, or else its first two terms; empty if it has neither."""
        return self.name or " and ".join(self.terms[:2])


def cluster(vectors: np.ndarray, seed: int) -> np.ndarray:
    """The topic of each passage, int64 (passages,), numbered from 0 in descending order of size.

    Args:
        vectors: float32 (passages, d), unit norm.
    """
    count = min(MOST_TOPICS, len(vectors) // PASSAGES_PER_TOPIC)
    if count < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    # One thread adds up in a fixed order, so that a resumed run samples the same passages.
    with threadpool_limits(1):
        model = MiniBatchKMeans(count, random_state=seed % 2**32, n_init=3)
        labels = model.fit_predict(vectors)
    numbers, sizes = np.unique(labels, return_counts=True)
    order = numbers[np.argsort(-sizes, kind="stable")]
    rank = {int(number): place for place, number in enumerate(order)}
    return np.array([rank[int(label)] for label in labels], dtype=np.int64)


def name_topics(texts: Sequence[str], topics: np.ndarray) -> list[Topic]:
    """The size and the characteristic words of each topic, by class-based TF-IDF.

    c-TF-IDF (Grootendorst 2022, arXiv 2203.05794, equation 3) is the frequency of a word in the
    topic times log(1 + average number of words per topic / frequency of the word in all topics).
    """
    sizes = np.bincount(topics) if len(topics) else np.zeros(0, dtype=np.int64)
    vectorizer = CountVectorizer(
        stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b", min_df=2
    )
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no word occurs in two passages
        return [Topic((), int(size)) for size in sizes]
    words = vectorizer.get_feature_names_out()
    in_topic = np.vstack([counts[topics == number].sum(axis=0).A1 for number in range(len(sizes))])
    everywhere = in_topic.sum(axis=0)
    frequency = in_topic / np.maximum(in_topic.sum(axis=1, keepdims=True), 1)
    weights = frequency * np.log1p(in_topic.sum() / len(sizes) / everywhere)
    named = []
    for number, size in enumerate(sizes):
        best = np.argsort(-weights[number], kind="stable")[:TERMS]
        terms = tuple(str(words[place]) for place in best if weights[number][place] > 0)
        named.append(Topic(terms, int(size)))
    return named


def periods(dates: Sequence[str | None]) -> np.ndarray:
    """The period of each date, int64: up to PERIODS periods that hold equal numbers of dates.

    Passages without a date form a period of their own, -1.

    Args:
        dates: ISO 8601 in UTC, or None.
    """
    known = sorted(date for date in dates if date)
    cuts = [known[len(known) * step // PERIODS] for step in range(1, PERIODS)] if known else []
    return np.array(
        [-1 if not date else int(np.searchsorted(cuts, date, side="right")) for date in dates],
        dtype=np.int64,
    )
