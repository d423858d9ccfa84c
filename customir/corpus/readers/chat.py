"""Groups chat messages into conversations. Each is a document that says who said what, and when."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from customir.corpus.document import RawDocument, Unreadable

# Messages of one speaker belong to one turn if less than this time is between them.
TURN = timedelta(minutes=5)
# (messages, silence). If an export names no threads, a silence ends a conversation. The longer the
# conversation, the shorter the silence, so that no document grows without limit.
SILENCES = ((50, timedelta(minutes=30)), (200, timedelta(minutes=5)))
BLANK_LINES = re.compile(r"\n\s*\n")
SENDER_NAMES = 8


@dataclass(frozen=True)
class ChatMessage:
    """A chat message. `time` is in UTC, and `thread` is empty if the export names none."""

    speaker: str
    time: datetime
    text: str
    thread: str = ""


@dataclass
class Channel:
    """The messages read from a channel.

    Attributes:
        title: The topic that people gave it, if any. It is not the channel's name, because a title
            is put above every passage and used as a query that matches it.
        notices: The number of entries that are not messages: joins, changes, messages without text.
    """

    title: str = ""
    messages: list[ChatMessage] = field(default_factory=list)
    notices: int = 0

    def add(self, message: ChatMessage | None) -> None:
        """Add a message, or count a notice if it is None or has no text."""
        if message is not None and message.text.strip():
            self.messages.append(message)
        else:
            self.notices += 1

    def documents(self, where: str) -> Iterator[RawDocument | Unreadable]:
        """The conversations of the channel, and the number of notices that were left out.

        Args:
            where: The channel's name in the identifiers.
        """
        yield from conversations(self.messages, where, self.title)
        if self.notices:
            what = f"chat notices: {self.notices} joins, leaves, changes, messages without text"
            yield Unreadable(where, what)


def conversations(
    messages: Iterable[ChatMessage], where: str, title: str = ""
) -> Iterator[RawDocument]:
    """The conversations of a channel or topic, in the order of their first messages.

    Args:
        where: The channel's name in the identifiers.
        title: See Channel.
    """
    threads: dict[str, list[ChatMessage]] = {}
    loose: list[ChatMessage] = []
    for message in sorted(messages, key=lambda message: message.time):
        (threads.setdefault(message.thread, []) if message.thread else loose).append(message)
    runs = [*threads.values(), *_cut_at_silences(loose)]
    for run in sorted(runs, key=lambda run: run[0].time):
        begin = run[0].time.isoformat(timespec="milliseconds").removesuffix("+00:00")
        speakers = list(dict.fromkeys(message.speaker for message in run))
        yield RawDocument(
            identifier=f"{where} {begin}",
            title=title,
            sender=", ".join(speakers[:SENDER_NAMES]),
            date=run[0].time.isoformat(timespec="seconds"),
            text=render_turns(run),
            is_chat=True,
        )


def render_turns(run: Iterable[ChatMessage]) -> str:
    """One paragraph per turn: "Ada 2004-12-25 09:14: text". The date appears only if it changes."""
    turns: list[str] = []
    last: ChatMessage | None = None
    for message in run:
        text = BLANK_LINES.sub("\n", message.text.strip())
        if last and last.speaker == message.speaker and message.time - last.time < TURN:
            turns[-1] += f"\n{text}"
        else:
            same_day = last is not None and message.time.date() == last.time.date()
            when = f"{message.time:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}}"
            turns.append(f"{message.speaker} {when}: {text}")
        last = message
    return "\n\n".join(turns)


def _cut_at_silences(messages: Iterable[ChatMessage]) -> Iterator[list[ChatMessage]]:
    run: list[ChatMessage] = []
    for message in messages:
        if run and message.time - run[-1].time >= _limit(len(run)):
            yield run
            run = []
        run.append(message)
    if run:
        yield run


def _limit(length: int) -> timedelta:
    return next((silence for count, silence in SILENCES if length < count), timedelta(0))
