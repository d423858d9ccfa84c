"""What the trainer learns from: a query, its passage, and passages that are not its answer."""

from dataclasses import dataclass, replace


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
        scores: The judge's scores of the positive and then of each negative, for distillation;
            empty: none.
    """

    query: str
    positive: TrainingPassage
    negatives: tuple[TrainingPassage, ...] = ()
    relevant: frozenset[str] = frozenset()
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.scores and len(self.scores) != 1 + len(self.negatives):
            raise ValueError("scores: one for the positive and one for each negative, or none")

    @property
    def passages(self) -> tuple[str, ...]:
        """The texts of the positive and of the negatives."""
        return (self.positive.text, *(negative.text for negative in self.negatives))


def without_empty(examples: list[Example]) -> list[Example]:
    """The examples whose query and positive have text, without negatives that have none."""
    return [
        _without_empty_negatives(example)
        for example in examples
        if example.query.strip() and example.positive.text.strip()
    ]


def _without_empty_negatives(example: Example) -> Example:
    kept = [place for place, negative in enumerate(example.negatives) if negative.text.strip()]
    scores = (
        [example.scores[place] for place in (0, *(place + 1 for place in kept))]
        if example.scores
        else []
    )
    return replace(
        example,
        negatives=tuple(example.negatives[place] for place in kept),
        scores=tuple(scores),
    )
