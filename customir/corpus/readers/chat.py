"""Chat messages to conversations. A conversation is a document: who said what, and when."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from customir.corpus.document import RawDocument

# What one speaker says within this time is one turn.
TURN = timedelta(minutes=5)
# Where an export names no threads, a silence ends a conversation: the longer the conversation,
# the shorter the silence, and no channel is one document for ever.
SILENCES = ((50, timedelta(minutes=30)), (200, timedelta(minutes=5)))
BLANK_LINES = re.compile(r"\n\s*\n")
SENDER_NAMES = 8


@dataclass(frozen=True)
class Said:
    """A chat message. `time` is in UTC; `thread` is empty where the export names none."""

    speaker: str
    time: datetime
    text: str
    thread: str = ""


def conversations(messages: Iterable[Said], where: str, title: str = "") -> Iterator[RawDocument]:
    """The conversations of a channel or topic, in the order of their first messages.

    Args:
        where: The channel, for the identifiers.
        title: What people called it, if they did: a topic, not a channel's name, for a title
            stands above every passage, and is taken for a query that fits.
    """
    threads: dict[str, list[Said]] = {}
    loose: list[Said] = []
    for message in sorted(messages, key=lambda said: said.time):
        (threads.setdefault(message.thread, []) if message.thread else loose).append(message)
    runs = [*threads.values(), *_cut_at_silences(loose)]
    for run in sorted(runs, key=lambda run: run[0].time):
        begin = run[0].time.isoformat(timespec="milliseconds").removesuffix("+00:00")
        speakers = list(dict.fromkeys(said.speaker for said in run))
        yield RawDocument(
            identifier=f"{where} {begin}",
            title=title,
            sender=", ".join(speakers[:SENDER_NAMES]),
            date=run[0].time.isoformat(timespec="seconds"),
            text=rendered(run),
            is_chat=True,
        )


def rendered(run: Iterable[Said]) -> str:
    """A paragraph a turn: "Ada 2004-12-25 09:14: text"; the date where it is another."""
    turns: list[str] = []
    last: Said | None = None
    for said in run:
        text = BLANK_LINES.sub("\n", said.text.strip())
        if last and last.speaker == said.speaker and said.time - last.time < TURN:
            turns[-1] += f"\n{text}"
        else:
            same_day = last is not None and last.time.date() == said.time.date()
            turns.append(
                f"{said.speaker} {said.time:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}}: {text}"
            )
        last = said
    return "\n\n".join(turns)


def _cut_at_silences(messages: Iterable[Said]) -> Iterator[list[Said]]:
    run: list[Said] = []
    for said in messages:
        if run and said.time - run[-1].time >= _limit(len(run)):
            yield run
            run = []
        run.append(said)
    if run:
        yield run


def _limit(length: int) -> timedelta:
    return next((silence for count, silence in SILENCES if length < count), timedelta(0))
