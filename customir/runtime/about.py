"""What an index holds, as a search page shows it before anything was asked."""

from collections.abc import Iterable
from dataclasses import dataclass

from customir.errors import UserError
from customir.runtime.facets import FacetValue, count_facets
from customir.runtime.index_reader import IndexReader
from customir.runtime.query import parse

EXAMPLES = 6
FEWEST_WORDS, MOST_WORDS, MOST_CHARACTERS = 2, 8, 60
TOP_SENDERS = 10


@dataclass(frozen=True)
class About:
    """What an index holds.

    Attributes:
        first, last: Day of the oldest and of the newest document, in UTC, as 2002-08-22; None where
            no document has a date.
        sources, languages, senders: The most frequent ones, with how many documents have them.
        examples: Queries that find something: subjects of threads, mostly of different senders, and
            the same ones each time.
    """

    passages: int
    documents: int
    threads: int
    first: str | None
    last: str | None
    sources: tuple[FacetValue, ...]
    languages: tuple[FacetValue, ...]
    senders: tuple[FacetValue, ...]
    examples: tuple[str, ...]


def read_about(reader: IndexReader) -> About:
    """Read it from the index; this looks at every document."""
    documents = reader.documents()
    facets = count_facets(documents)
    first, last = reader.first_and_last_day()
    return About(
        passages=reader.count(),
        documents=len(documents),
        threads=reader.count_threads(),
        first=first,
        last=last,
        sources=facets.sources,
        languages=facets.languages,
        senders=facets.senders[:TOP_SENDERS],
        examples=tuple(choose_examples(reader.thread_starts())),
    )


def choose_examples(starts: Iterable[tuple[str, str]]) -> list[str]:
    """Up to six titles that read like queries, each of another sender as long as there are enough.

    Args:
        starts: Title and sender of threads, the best first.
    """
    # Patterns for 26 languages, which no other search has to wait for.
    from customir.text.mail_labels import without_prefixes

    chosen: dict[str, str] = {}
    others: list[str] = []
    for title, sender in starts:
        example = without_prefixes(title).strip()
        if not _is_query(example) or example in chosen.values() or example in others:
            continue
        if sender in chosen:
            others.append(example)
        else:
            chosen[sender] = example
        if len(chosen) == EXAMPLES:
            break
    return [*chosen.values(), *others][:EXAMPLES]


def _is_query(title: str) -> bool:
    """Whether somebody might type this, and no part of it means something else there."""
    if len(title) > MOST_CHARACTERS or not FEWEST_WORDS <= len(title.split()) <= MOST_WORDS:
        return False
    try:
        return not parse(title).conditions
    except UserError:
        return False
