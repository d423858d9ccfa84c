"""What a corpus is about: clusters of the base embeddings, named by their own words."""

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
        terms: The words that tell it from the others, the most telling first.
        name: What the LLM calls it; empty where it wasn't asked or gave no name.
    """

    terms: tuple[str, ...]
    size: int
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, else its first words; empty where it has neither."""
        return self.name or " and ".join(self.terms[:2])


def cluster(vectors: np.ndarray, seed: int) -> np.ndarray:
    """The topic of each passage, int64 (passages,), numbered from 0, the largest first.

    Args:
        vectors: float32 (passages, d), unit norm.
    """
    count = min(MOST_TOPICS, len(vectors) // PASSAGES_PER_TOPIC)
    if count < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    # On one thread, so that a run that goes on adds up in the same order and samples the same.
    with threadpool_limits(1):
        model = MiniBatchKMeans(count, random_state=seed % 2**32, n_init=3)
        labels = model.fit_predict(vectors)
    numbers, sizes = np.unique(labels, return_counts=True)
    order = numbers[np.argsort(-sizes, kind="stable")]
    rank = {int(number): place for place, number in enumerate(order)}
    return np.array([rank[int(label)] for label in labels], dtype=np.int64)


def name_topics(texts: Sequence[str], topics: np.ndarray) -> list[Topic]:
    """Each topic's size and telling words, by class-based TF-IDF.

    c-TF-IDF (Grootendorst 2022, arXiv 2203.05794, equation 3): a word's frequency in the topic
    times log(1 + words in a topic on average / frequency of the word in all).
    """
    sizes = np.bincount(topics) if len(topics) else np.zeros(0, dtype=np.int64)
    vectorizer = CountVectorizer(
        stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b", min_df=2
    )
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no word stands in two passages
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
    """Which of up to PERIODS spans of time each date is in, int64; spans hold equal numbers.

    Passages without a date are a span of their own, -1.

    Args:
        dates: ISO 8601 in UTC, or None.
    """
    known = sorted(date for date in dates if date)
    cuts = [known[len(known) * step // PERIODS] for step in range(1, PERIODS)] if known else []
    return np.array(
        [-1 if not date else int(np.searchsorted(cuts, date, side="right")) for date in dates],
        dtype=np.int64,
    )
