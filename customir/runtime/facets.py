"""How often senders, months, sources and languages occur among documents."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MOST_VALUES = 20  # of each facet but the months


@dataclass(frozen=True)
class FacetValue:
    """A sender, month, source or language, and how many documents have it."""

    value: str
    count: int


@dataclass(frozen=True)
class Facets:
    """What documents have in common. Documents for which something is not known are not counted.

    Attributes:
        senders, sources, languages: The 20 most frequent, the most frequent first.
        months: As 2002-08, in order.
    """

    senders: tuple[FacetValue, ...]
    months: tuple[FacetValue, ...]
    sources: tuple[FacetValue, ...]
    languages: tuple[FacetValue, ...]


def count_facets(documents: Iterable[tuple[str, str, str, str]]) -> Facets:
    """The facets of documents.

    Args:
        documents: Sender, month, source and language of each; empty where they are not known.
    """
    senders, months, sources, languages = (Counter[str]() for _ in range(4))
    for values in documents:
        for counter, value in zip((senders, months, sources, languages), values, strict=True):
            if value:
                counter[value] += 1
    return Facets(
        most_frequent(senders),
        tuple(FacetValue(month, count) for month, count in sorted(months.items())),
        most_frequent(sources),
        most_frequent(languages),
    )


def most_frequent(counts: Counter[str], limit: int = MOST_VALUES) -> tuple[FacetValue, ...]:
    """The values with the highest counts, equal ones by value."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(FacetValue(value, count) for value, count in ordered[:limit])
