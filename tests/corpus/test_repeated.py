"""What many messages repeat at their ends, found by counting."""

import random
from collections.abc import Callable
from pathlib import Path

from customir.corpus.ingest import IngestSummary
from customir.corpus.repeated import LineCounts, without_repeated
from customir.settings import CorpusSettings

from .messages import mail, mbox

DISCLAIMERS = (
    "本メールには機密情報が含まれている場合があります。誤って受信された場合は削除してください。",
    "To sporočilo je namenjeno samo naslovniku in lahko vsebuje\nzaupne podatke družbe.",
)
BANNER = "ВНИМАНИЕ: письмо пришло из внешней сети."

Ingest = Callable[..., IngestSummary]
Rows = Callable[..., list[tuple[object, ...]]]


def own(number: int) -> str:
    chance = random.Random(number)
    return "\n\n".join(f"{chance.random()} mills stand in row {chance.random()}." for _ in range(3))


def counted(*texts: str) -> LineCounts:
    counts = LineCounts()
    counts.add(texts)
    return counts


def test_ends_and_tops_are_cut_in_any_language() -> None:
    texts = [f"{BANNER}\n\n{own(n)}\n\n-----\n{DISCLAIMERS[n % 2]}\n" for n in range(40)]
    counts = counted(*texts)
    assert [without_repeated(text, counts, 20) for text in texts] == [own(n) for n in range(40)]
    assert without_repeated(texts[0], counts, 21).endswith(DISCLAIMERS[0])


def test_what_people_say_often_and_forms_stay() -> None:
    forms = ["Start date: today; hour ahead hour: 3\nNo variances were detected."] * 30
    thanks = [f"{own(n)}\n}}\nThanks\n\nAda" for n in range(30)]
    counts = counted(*forms, *thanks)
    for text in (*forms, *thanks):
        assert without_repeated(text, counts, 20) == text


def test_a_line_counts_once_a_message_and_only_at_its_ends() -> None:
    line = "This line stands in the middle of everything."
    middle = [f"{own(n)}\n\n" * 5 + line + f"\n\n{own(n)}" * 20 for n in range(30)]
    ending = f"{own(99)}\n{line}\n{line}\n{line}"
    assert without_repeated(ending, counted(*middle, ending), 2) == ending


def test_counts_are_never_too_small() -> None:
    texts = [f"line number {n % 997} of them all\nalone {n}" for n in range(5000)]
    counts = counted(*texts)
    real = [sum(n % 997 == m for n in range(5000)) for m in range(997)]
    found = counts.of([f"line number {m} of them all" for m in range(997)])
    assert all(f >= r for f, r in zip(found, real, strict=True))
    assert sum(f > r for f, r in zip(found, real, strict=True)) <= 2


def box(path: Path, count: int) -> Path:
    """Three mails without the disclaimer, then `count` with it."""
    messages = [mail(own(n).encode(), message_id=f"<{n}@x>") for n in range(3)]
    messages += [
        mail(
            f"{own(n)}\n\n{DISCLAIMERS[1]}".encode(),
            message_id=f"<{n}@x>",
            subject=f"Mill {n}",
            content_type="text/plain; charset=utf-8",
        )
        for n in range(3, 3 + count)
    ]
    path.write_bytes(mbox(*messages))
    return path


def test_when_more_mail_comes_only_what_it_makes_boilerplate_changes(
    tmp_path: Path, read_in: Ingest, rows: Rows
) -> None:
    documents = "SELECT key, thread FROM document ORDER BY 1"
    passages = "SELECT key, text FROM passage ORDER BY 1"
    path = box(tmp_path / "in.mbox", 15)
    few = read_in(path)
    assert few.cut.get("repeated lines", 0) == 0
    before = dict(rows(documents)), dict(rows(passages))
    many = read_in(box(path, 25))
    assert many.cut["repeated lines"] > 25 * len(DISCLAIMERS[1])
    assert (many.new, many.changed, many.removed) == (10, 0, 0)
    after = dict(rows(documents)), dict(rows(passages))
    assert before[0].items() <= after[0].items()
    assert not [text for text in after[1].values() if "naslovniku" in str(text)]
    untouched = {key for key, text in before[1].items() if "naslovniku" not in str(text)}
    assert len(untouched) == 3
    assert untouched <= after[1].keys()
    read_in(path, out="at once")
    assert rows(passages) == rows(passages, out="at once")
    fewer = read_in(box(path, 15))
    assert (fewer.new, fewer.changed, fewer.removed) == (0, 0, 10)
    assert (dict(rows(documents)), dict(rows(passages))) == before
    assert (
        read_in(box(path, 25), settings=CorpusSettings(boilerplate_min_documents=0)).cut.get(
            "repeated lines", 0
        )
        == 0
    )
