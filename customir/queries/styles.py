"""The styles of the LLM's queries, and its prompts in each language (`prompts/*.toml`).

A small LLM writes in the language of its examples, whatever language the passage is in and whatever
the instruction asks for. A passage is therefore shown below an instruction, labels and examples in
its own language. A new language needs a file in `prompts/`, named by its ISO 639-1 code, and
nothing else.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from customir.llm import Prompt
from customir.text.tokenize import UNSPACED

STYLES = ("keywords", "question", "need", "summary", "attribute")
# The label of a subject that serves as the example of a query.
SUBJECT, SUBJECT_CUE = "subject", "Search:"
EXAMPLES_PER_PROMPT = 3
IN_ITS_LANGUAGE = " Write in the language of the passage."


@dataclass(frozen=True)
class Example:
    """A passage and, by style, queries that somebody might type to find it."""

    passage: str
    queries: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class PromptLanguage:
    """What a prompt in one language consists of.

    Attributes:
        code: ISO 639-1; for Chinese in traditional characters "zh-Hant".
        passage: The label in front of a passage, with its colon.
        cues: The label in front of a query, by style, with its colon. A prompt ends with it.
        from_corpus: Whether there is no file for this language: the instruction is in English, and
            the examples are passages of the corpus with their subjects.
    """

    code: str
    instruction: str
    passage: str
    cues: Mapping[str, str]
    examples: tuple[Example, ...]
    from_corpus: bool = False

    @property
    def origin(self) -> str:
        """Where its examples are from, for the report."""
        if not self.from_corpus:
            return "in that language"
        return "subjects of the corpus" if self.examples else "none"

    @cached_property
    def rotations(self) -> tuple[tuple[Example, ...], ...]:
        """The examples of each prompt. They rotate, so that no example influences all queries."""
        count = len(self.examples)
        shown = min(EXAMPLES_PER_PROMPT, count)
        return tuple(
            tuple(self.examples[(start + step) % count] for step in range(shown))
            for start in range(count)
        ) or ((),)

    @cached_property
    def marks(self) -> re.Pattern[str]:
        """A label of this language: an answer that contains one copies the prompt."""
        labels = sorted({label.rstrip(" :：") for label in (self.passage, *self.cues.values())})
        start = rf"(?:(?<!\w)|(?<=[{UNSPACED}]))"
        return re.compile(rf"(?i){start}(?:{'|'.join(map(re.escape, labels))})\s*[:：]")

    def shown_queries(self, rotation: int) -> list[str]:
        """The example queries in prompts of this rotation."""
        return [query for shown in self.rotations[rotation] for query in shown.queries.values()]

    def prompt(self, passage: str, style: str, rotation: int) -> Prompt:
        """The prompt for one query in `style`.

        Args:
            passage: Title and text; must fit the context.
            rotation: Selects the examples that precede it, 0 <= rotation < len(rotations).
        """
        return Prompt(
            shared=f"{self.instruction}\n\n" + "".join(map(self._shown, self.rotations[rotation])),
            branch=f"{self.passage} {passage}\n",
            leaf=self.cues[style],
        )

    def _shown(self, example: Example) -> str:
        lines = [f"{self.passage} {example.passage}"]
        lines += [f"{self.cues[style]} {query}" for style, query in example.queries.items()]
        return "\n".join(lines) + "\n\n"


def _read(path: Path) -> PromptLanguage:
    table = tomllib.loads(path.read_text("utf-8"))
    examples = tuple(
        Example(entry["passage"], {style: entry[style] for style in STYLES})
        for entry in table["examples"]
    )
    return PromptLanguage(
        path.stem, table["instruction"], table["passage"], table["cues"], examples
    )


PROMPTS: Mapping[str, PromptLanguage] = {
    path.stem: _read(path) for path in sorted(Path(__file__).with_name("prompts").glob("*.toml"))
}
ENGLISH = PROMPTS["en"]


def prompts_from_corpus(code: str, examples: Sequence[tuple[str, str]]) -> PromptLanguage:
    """The prompts for a language without a file, with texts and subjects of the corpus as examples.

    They have one label for all styles, because an English question is answered in English.

    Args:
        examples: Texts in that language, each with its subject; may be empty.
    """
    return PromptLanguage(
        code,
        ENGLISH.instruction + IN_ITS_LANGUAGE,
        ENGLISH.passage,
        dict.fromkeys((*STYLES, SUBJECT), SUBJECT_CUE),
        tuple(Example(text, {SUBJECT: subject}) for text, subject in examples),
        from_corpus=True,
    )
