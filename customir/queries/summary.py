"""A readable summary of a corpus: lengths, languages, style, time and topics."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import py3langid

from customir.queries.boilerplate import automatic, boilerplate
from customir.queries.topics import Topic
from customir.text.tokenize import length_of, words_of
from customir.workspace import content_key
from customir.workspace.passages import Passage

# Languages and style are determined from a sample of this many passages, drawn by their keys.
LOOKED_AT = 1000
BARS = " ▁▂▃▄▅▆▇█"
STYLES = {
    "asks a question": re.compile(r"[?\u061f](\s|$)|\uff1f"),
    "greets": re.compile(r"(?i)^\W*(hi|hello|dear|hey|hallo|bonjour)\b"),
    "has a list": re.compile(r"(?m)^\s*([-*•]|\d+[.)])\s+\S"),
    "has code or logs": re.compile(r"(?m)^(\s{4,}\S.*[;{}=()]|\$ |>>> |Traceback|\s+at \w+\.)"),
    "has a link": re.compile(r"https?://"),
}


@dataclass(frozen=True)
class Summary:
    """A corpus in figures.

    Attributes:
        words: Words per passage: 10th, 50th and 90th percentile.
        languages, styles: Shares of the sampled passages.
        years: Documents per year.
        left_out: Number of passages that get no queries, by reason.
    """

    passages: int
    documents: int
    threads: int
    words: tuple[int, int, int]
    languages: dict[str, float]
    styles: dict[str, float]
    years: dict[str, int]
    left_out: dict[str, int]
    topics: tuple[Topic, ...]


def summarise(
    passages: Sequence[Passage], dates: Mapping[str, str | None], topics: Sequence[Topic]
) -> Summary:
    """Summarise the corpus; languages and styles come from a sample of its passages.

    Args:
        dates: ISO 8601, by document.
        topics: In descending order of size.
    """
    lengths = [length_of(words_of(passage.text)) for passage in passages]
    looked = sorted(passages, key=lambda p: content_key("summary", p.key))[:LOOKED_AT]
    spoken = Counter(py3langid.classify(passage.text)[0] for passage in looked)
    years = Counter((dates.get(document) or "")[:4] for document in {p.document for p in passages})
    low, middle, high = np.percentile(lengths, [10, 50, 90]) if lengths else (0, 0, 0)
    return Summary(
        passages=len(passages),
        documents=len({passage.document for passage in passages}),
        threads=len({passage.thread for passage in passages}),
        words=(round(low), round(middle), round(high)),
        languages={name: number / len(looked) for name, number in spoken.most_common()},
        styles={
            name: sum(bool(mark.search(p.text)) for p in looked) / max(1, len(looked))
            for name, mark in STYLES.items()
        },
        years=dict(sorted(years.items())),
        left_out={
            "near-duplicates": len(passages) - len({p.duplicates for p in passages}),
            "automatic replies": sum(map(automatic, passages)),
            "boilerplate": len(boilerplate(passages)),
        },
        topics=tuple(topics),
    )


def render(summary: Summary) -> str:
    """The summary as text: figures, one bar per year and one bar per topic."""
    low, middle, high = summary.words
    lines = [
        f"{summary.passages} passages of {summary.documents} documents in {summary.threads} threads",
        f"words a passage: {middle} (a tenth has under {low}, a tenth over {high})",
        f"languages: {_shares(summary.languages)}",
        f"style: {_shares(summary.styles)}",
        "left out of the sample: "
        + ", ".join(f"{number} {name}" for name, number in summary.left_out.items()),
    ]
    dated = {year: number for year, number in summary.years.items() if year}
    if dated:
        most = max(dated.values())
        bars = "".join(BARS[-(-number * (len(BARS) - 1) // most)] for number in dated.values())
        lines.append(f"documents a year, {min(dated)} to {max(dated)}: {bars}")
    if undated := summary.years.get("", 0):
        lines.append(f"documents without a date: {undated}")
    lines.append(f"{len(summary.topics)} topics:")
    most = max((topic.size for topic in summary.topics), default=1)
    for topic in summary.topics:
        bar = "█" * max(1, round(20 * topic.size / most))
        terms = ", ".join(topic.terms) or "(no own words)"
        named = f"{topic.name}: {terms}" if topic.name else terms
        lines.append(f"  {topic.size:7}  {bar:20}  {named}")
    return "\n".join(lines)


def _shares(shares: Mapping[str, float]) -> str:
    told = [f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.01]
    return ", ".join(told) or "none"
