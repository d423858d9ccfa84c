"""Training examples: a query, its positive passage, and its hard negatives."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TrainingPassage:
    """A passage as the trainer sees it.

    Attributes:
        text: The text to embed: title and text.
        thread: Passages of one thread are not negatives of each other. Empty if it is in no thread.
        duplicates: The near-duplicate group. Passages of one group are not negatives either.
    """

    key: str
    text: str
    thread: str
    duplicates: str


@dataclass(frozen=True)
class Example:
    """A training pair with its hard negatives.

    Attributes:
        relevant: Keys of passages that the judge called relevant to this query. They are never its
            negatives.
    """

    query: str
    positive: TrainingPassage
    negatives: tuple[TrainingPassage, ...] = ()
    relevant: frozenset[str] = frozenset()

    @property
    def passages(self) -> tuple[str, ...]:
        """The texts of the positive and of the negatives."""
        return (self.positive.text, *(negative.text for negative in self.negatives))


def without_empty(examples: list[Example]) -> list[Example]:
    """The examples whose query and positive are not empty, without their empty negatives."""
    return [
        _without_empty_negatives(example)
        for example in examples
        if example.query.strip() and example.positive.text.strip()
    ]


def _without_empty_negatives(example: Example) -> Example:
    negatives = tuple(negative for negative in example.negatives if negative.text.strip())
    return replace(example, negatives=negatives)
