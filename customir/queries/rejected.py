"""Filters that need only the text of the LLM's queries."""

from collections.abc import Sequence

from customir.queries import filters
from customir.queries.generate import Written


def rejected_by_text(written: Sequence[Written]) -> list[str | None]:
    """For each query, the name of the filter that drops it by its text, or None."""
    texts = [query.text for query in written]
    own = [query.request.passage.content for query in written]
    rejected = [
        filters.reject_by_form(
            text,
            passage,
            query.request.language.shown_queries(query.request.rotation),
            query.request.language.marks,
        )
        for text, passage, query in zip(texts, own, written, strict=True)
    ]
    for number, wrong in enumerate(filters.wrong_language(texts, own)):
        rejected[number] = rejected[number] or ("wrong language" if wrong else None)
    for number, again in enumerate(filters.repeated(texts)):
        rejected[number] = rejected[number] or ("said before" if again else None)
    return rejected
