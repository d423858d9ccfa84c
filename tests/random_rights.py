"""Random small corpora, and random rights to read parts of them."""

import random
from collections.abc import Sequence
from dataclasses import replace
from email.utils import getaddresses, parseaddr
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage
from customir.runtime.rights import Grant, Rights

WORDS = ("budget", "pizza", "server", "contract", "holiday", "passwords")
PEOPLE = (
    "Ann <ann@example.org>", "bob@example.org", "Carl <carl@example.com>",
    '"ann@example.org" <eve@example.net>', "joann@example.org", "Dan",
)  # fmt: skip
SOURCES = ("mail/open", "mail/board", "mail/board-old", "files")
DATES = ("2001-05-01T10:00:00+00:00", "2002-05-01T23:30:00-05:00", "2003-01-01", None)
QUERIES = ("budget of the server", "pizza", "secret passwords", "contract 00:07")


class Remembering(Embedder):
    """Embeds each text once, by itself, so that thousands of corpora take seconds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._vectors: dict[tuple[str, str], npt.NDArray[np.float32]] = {}

    def encode(
        self, texts: Sequence[str], kind: Any = "passage", task: Any = None
    ) -> npt.NDArray[np.float32]:
        for text in texts:
            if (text, kind) not in self._vectors:
                (self._vectors[text, kind],) = super().encode([text], kind)
        return np.stack([self._vectors[text, kind] for text in texts])


def random_corpus(chance: random.Random) -> list[IndexedPassage]:
    """Up to 16 documents of one or two passages, all of the same length, in threads and groups.

    Every passage has a word of its own, "secretNN".
    """
    passages: list[IndexedPassage] = []
    for number in range(chance.randint(1, 16)):
        document = IndexedPassage(
            key="", document=f"document-{number:02}", identifier=f"<{number:02}@example.org>",
            source=chance.choice(SOURCES), title=f"About {chance.choice(WORDS)} {number:02}",
            sender=chance.choice(PEOPLE), date=chance.choice(DATES),
            thread=f"document-{chance.randint(0, number):02}", duplicates="", text="",
            recipients=", ".join(chance.sample(PEOPLE[:5], chance.randint(0, 2))),
            attachments=chance.choice(("", f"file{number:02}.pdf")),
            language=chance.choice(("", "en", "de")),
        )  # fmt: skip
        for ordinal in range(chance.randint(1, 2)):
            text = " ".join(chance.choice(WORDS) for _ in range(3))
            key = f"key-{len(passages):02}"
            group = (
                chance.choice(passages).duplicates if passages and chance.random() < 0.2 else key
            )
            passages.append(
                replace(document, key=key, duplicates=group, ordinal=ordinal,
                        text=f"{text} secret{len(passages):02}", thin=chance.random() < 0.2)
            )  # fmt: skip
    return passages


def random_rights(chance: random.Random) -> Rights:
    """Up to three grants."""
    return tuple(_random_grant(chance) for _ in range(chance.randint(0, 3)))


def _random_grant(chance: random.Random) -> Grant:
    sources = (*SOURCES, "mail", "mail/boa", "files/", "files/<03@example.org>")
    people = (*PEOPLE, "ANN@example.org", "@example.org", "@example.net", "Eve")
    several = {
        "sources": sources, "senders": people, "recipients": people, "participants": people,
    }  # fmt: skip
    chosen: dict[str, Any] = {
        name: tuple(chance.sample(values, chance.randint(1, 3)))
        for name, values in several.items()
        if chance.random() < 0.3
    }
    if chance.random() < 0.3:
        chosen["since"] = chance.choice(("2002", "2002-05-02", "2002-05-02T04:30:00Z"))
    if chance.random() < 0.3:
        chosen["until"] = chance.choice(("2001", "2002-05-01", "2002-05-02T04:30:00Z"))
    return Grant(**chosen) if chosen else Grant(sources=("mail",))


def permitted(passages: Sequence[IndexedPassage], rights: Rights) -> list[IndexedPassage]:
    """The passages that may be read, with the names that threads and groups then have."""
    own = [one for one in passages if any(_allows(grant, one) for grant in rights)]
    threads, groups = {}, {}
    for one in sorted(own, key=lambda passage: passage.key):
        threads.setdefault(one.thread, one.key)
        groups.setdefault(one.duplicates, one.key)
    return [
        replace(one, thread=threads[one.thread], duplicates=groups[one.duplicates]) for one in own
    ]


def _allows(grant: Grant, passage: IndexedPassage) -> bool:
    """What a grant means, written a second time and as plainly as possible."""
    path = f"{passage.source}/{passage.identifier}"
    sender = parseaddr(passage.sender)[1] or passage.sender
    recipients = [address for _, address in getaddresses([passage.recipients]) if address]
    bounds = {"2001": "2002-01-01T00:00:00", "2002-05-01": "2002-05-02T00:00:00"}
    date = _utc(passage.date)
    until = grant.until and bounds.get(grant.until, "2002-05-02T04:30:01")
    since = {"2002": "2002-01-01T00:00:00", "2002-05-02": "2002-05-02T00:00:00"}.get(
        grant.since or "", "2002-05-02T04:30:00"
    )
    return all(
        (
            not grant.sources
            or any(f"{path}/".startswith(one.rstrip("/") + "/") for one in grant.sources),
            not grant.senders or _is_one([sender], grant.senders),
            not grant.recipients or _is_one(recipients, grant.recipients),
            not grant.participants or _is_one([sender, *recipients], grant.participants),
            grant.since is None or (date is not None and date >= since),
            until is None or (date is not None and date < until),
        )
    )


def _utc(date: str | None) -> str | None:
    """One of DATES in UTC."""
    return {
        DATES[0]: "2001-05-01T10:00:00",
        DATES[1]: "2002-05-02T04:30:00",
        DATES[2]: "2003-01-01T00:00:00",
    }.get(date)


def _is_one(addresses: Sequence[str], wanted: Sequence[str]) -> bool:
    lower = [one.lower() for one in wanted]
    domains = ["@" + one.split("@")[1] for one in addresses if "@" in one]
    return any(one.lower() in lower for one in [*addresses, *domains])


def thread_names(corpus: Sequence[IndexedPassage], own: Sequence[IndexedPassage]) -> list[str]:
    """Names by which threads may be asked for: their own, the index's, and keys that are forbidden."""
    keys = {one.key for one in corpus} - {one.key for one in own}
    return sorted({one.thread for one in (*corpus, *own)} | keys)


def near(expected: Any) -> Any:
    """The same, with scores that are the same but for rounding."""
    if isinstance(expected, list):
        return [near(one) for one in expected]
    if isinstance(expected, dict):
        return {name: near(one) for name, one in expected.items()}
    return pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected
