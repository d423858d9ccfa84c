"""What the trainer learns from: a query, its passage, and passages that are not its answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingPassage:
    """A passage as the trainer sees it.

    Attributes:
        text: What is embedded: title and text.
        thread: Passages of one thread are no negatives of each other; empty: in none.
        duplicates: Near-duplicate group: the same.
    """

    key: str
    text: str
    thread: str
    duplicates: str


@dataclass(frozen=True)
class Example:
    """A training pair with its hard negatives.

    Attributes:
        relevant: Keys of passages that the judge called relevant to this query: never negatives.
    """

    query: str
    positive: TrainingPassage
    negatives: tuple[TrainingPassage, ...] = ()
    relevant: frozenset[str] = frozenset()


def without_empty(examples: list[Example]) -> list[Example]:
    """The examples whose query and positive have text, without negatives that have none."""
    return [
        Example(
            example.query,
            example.positive,
            tuple(negative for negative in example.negatives if negative.text.strip()),
            example.relevant,
        )
        for example in examples
        if example.query.strip() and example.positive.text.strip()
    ]
