"""From sources to rows: counted, repeatable, and the same after a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from customir.corpus.ingest import MINIMUM_PASSAGES, IngestSummary, ingest, require_enough
from customir.corpus.sources import check_sources, sources_fingerprint
from customir.errors import UserError
from customir.progress import Silent
from customir.runtime.index import IndexedPassage
from customir.settings import CorpusSettings
from customir.workspace import Workspace
from customir.workspace.passages import read_passages

from .messages import mail, mbox

Ingest = Callable[..., IngestSummary]
Rows = Callable[..., list[tuple[object, ...]]]

MAILBOXES = Path(__file__).parents[3] / "shared" / "data" / "mbox"
EVERYTHING = (
    "SELECT 'd', key, source, identifier, title, sender, date, thread, text FROM document "
    "UNION ALL SELECT 's', source, identifier, reason, '', '', '', '', '' FROM skipped "
    "UNION ALL SELECT 'o', document, hex(text), refs, is_mail, '', '', '', '' FROM original "
    "UNION ALL SELECT 'p', key, document, ordinal, text, duplicates, '', '', '' FROM passage "
    "ORDER BY 1, 2, 3, 4"
)


def story(number: int, sentences: int = 3) -> bytes:
    return " ".join(
        f"Part {number * 7 + at} of mill {number} was ordered in week {at * number}."
        for at in range(sentences)
    ).encode()


def mailbox(path: Path, numbers: range) -> Path:
    path.write_bytes(
        mbox(
            *(
                mail(story(n, 1 + n % 40), message_id=f"<{n}@x>", references=f"<{n // 3}@x>")
                for n in numbers
            )
        )
    )
    return path


def test_everything_read_is_kept_or_listed(tmp_path: Path, read_in: Ingest, rows: Rows) -> None:
    path = tmp_path / "in.mbox"
    same = mail(b"The mill is ready.", message_id="<1@x>")
    path.write_bytes(
        mbox(
            same,
            mail(b"When?", message_id="<2@x>", references="<1@x>", subject="Re: Engines"),
            same,
            mail(b"> only\n> quoted", message_id="<3@x>", subject="Re: Engines"),
            mail(b"", message_id="<4@x>"),
            mail(b"\x00\xff broken", content_type="image/png", message_id="<5@x>"),
        )
    )
    summary = read_in(path)
    assert (summary.read, summary.kept, summary.skipped) == (6, 2, 4)
    assert (summary.threads, summary.largest_thread, summary.passages) == (1, 2, 2)
    assert rows("SELECT identifier, reason FROM skipped ORDER BY 1") == [
        ("<1@x>", "same message as <1@x>"),
        ("<3@x>", "nothing but quotes, signature or list notes"),
        ("<4@x>", "empty body"),
        ("<5@x>", "no text part: image/png"),
    ]
    assert summary.skipped_by_reason["same message as"] == 1
    assert json.loads(json.dumps(summary.as_detail()))["read"] == 6


def test_two_sources_that_share_a_message_share_a_row(
    tmp_path: Path, read_in: Ingest, rows: Rows
) -> None:
    one = mailbox(tmp_path / "one.mbox", range(5))
    two = mailbox(tmp_path / "two.mbox", range(3, 8))
    summary = read_in(one, two)
    assert (summary.read, summary.kept, summary.skipped) == (10, 8, 2)
    assert rows("SELECT source, reason FROM skipped ORDER BY 2") == [
        (str(two), f"same message as <3@x> in {one}"),
        (str(two), f"same message as <4@x> in {one}"),
    ]


def test_reading_again_changes_nothing(tmp_path: Path, read_in: Ingest, rows: Rows) -> None:
    path = mailbox(tmp_path / "in.mbox", range(40))
    first = read_in(path)
    before = rows(EVERYTHING)
    again = read_in(path)
    assert (first.new, again.new, again.removed) == (40, 0, 0)
    assert rows(EVERYTHING) == before


def test_what_has_gone_is_deleted_and_what_has_changed_is_cut_anew(
    tmp_path: Path, read_in: Ingest, rows: Rows
) -> None:
    path = mailbox(tmp_path / "in.mbox", range(30))
    read_in(path)
    mailbox(path, range(10, 40))
    summary = read_in(path)
    assert (summary.new, summary.removed, summary.kept) == (10, 10, 30)
    path.write_bytes(path.read_bytes().replace(b"mill 20 ", b"mill twenty "))
    again = read_in(path)
    assert (again.new, again.changed, again.removed, again.kept) == (0, 1, 0, 30)
    assert "0 new, 1 changed, 0 gone" in again.line
    small = CorpusSettings(passage_tokens=40, overlap_tokens=5)
    read_in(path, settings=small)
    read_in(path, out="fresh", settings=small)
    assert rows(EVERYTHING) == rows(EVERYTHING, out="fresh")
    assert len(rows("SELECT * FROM passage")) > summary.passages


def test_jsonl_threads_and_duplicates(tmp_path: Path, read_in: Ingest, rows: Rows) -> None:
    path = tmp_path / "corpus.jsonl"
    text = story(3, 9).decode()
    lines = [
        {"_id": "a", "title": "T", "text": text, "thread": "t"},
        {"_id": "b", "text": "Something else entirely, about bread.", "thread": "t"},
        {"_id": "c", "title": "Re: T", "text": text},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = read_in(path)
    assert (summary.threads, summary.duplicate_groups, summary.duplicate_passages) == (2, 1, 2)
    with Workspace(tmp_path / "out", write=False) as workspace:
        passages = read_passages(workspace)
    assert [passage.key for passage in passages] == sorted(passage.key for passage in passages)
    one, other = (passage for passage in passages if passage.text == text)
    assert one.duplicates == other.duplicates == min(one.key, other.key)
    assert {one.content, other.content} == {f"T\n{text}", f"Re: T\n{text}"}


def test_too_few_passages_are_refused(tmp_path: Path, read_in: Ingest) -> None:
    read_in(mailbox(tmp_path / "in.mbox", range(3)))
    refused = pytest.raises(UserError, match=rf"3 usable documents.*{MINIMUM_PASSAGES} passages")
    with Workspace(tmp_path / "out", write=False) as workspace, refused:
        require_enough(workspace)
    read_in(mailbox(tmp_path / "in.mbox", range(MINIMUM_PASSAGES)))
    with Workspace(tmp_path / "out", write=False) as workspace:
        require_enough(workspace)


def test_a_source_without_a_usable_document_is_refused(tmp_path: Path, read_in: Ingest) -> None:
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(mail(b"")))
    with pytest.raises(UserError, match=r"1 documents were read and none.*empty body"):
        read_in(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mbox", None, "no such file"),
        ("empty.mbox", b"", "the file is empty"),
        ("binary.mbox", b"\x7fELF\x02\x01\x01\x00" * 99, "not a format"),
        ("deck.pptx", b"PK\x03\x04\x14\x00", "damaged archive"),
        ("folder", {}, "nothing in this folder"),
        ("folder", {"a.png": b"\x89PNG\x00", "b.txt": b""}, "nothing in this folder"),
    ],
)
def test_sources_are_looked_at_before_any_work(
    tmp_path: Path,
    read_in: Ingest,
    name: str,
    content: bytes | dict[str, bytes] | None,
    message: str,
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
        for below, data in content.items():
            (path / below).write_bytes(data)
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_sources([path]),
        lambda: read_in(path),
    )
    for check in checks:
        with pytest.raises(UserError, match=message) as raised:
            check()
        assert str(path) in str(raised.value)
        assert "mbox" in str(raised.value)
        assert ".jsonl" in str(raised.value)
    with pytest.raises(UserError, match="No source is given"):
        check_sources([])


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = mailbox(folder / "a.mbox", range(3))
    first = sources_fingerprint([folder])
    os.utime(path, (1, 1))
    assert sources_fingerprint([folder]) == first
    (folder / "b.txt").write_text("more")
    second = sources_fingerprint([folder])
    (folder / "b.txt").rename(folder / "c.txt")
    assert len({first, second, sources_fingerprint([folder]), sources_fingerprint([path])}) == 4


KILLED = """
import sys
from pathlib import Path
from customir.corpus import ingest
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace
ingest.BATCH = 20
source, out, tokenizer = map(Path, sys.argv[1:])
with Workspace(out) as workspace:
    ingest.ingest(workspace, [source], CorpusSettings(), tokenizer, Silent())
"""


def _documents(out: Path) -> int:
    """Documents in a workspace that may be under construction, without touching it."""
    try:
        database = sqlite3.connect(f"file:{out / 'workspace.db'}?mode=ro", uri=True)
        with closing(database):
            return int(database.execute("SELECT count(*) FROM document").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.parametrize("documents", [20, 300, 800])
def test_killed_and_run_again_gives_the_same_rows(
    tmp_path: Path, minilm: Path, read_in: Ingest, rows: Rows, documents: int
) -> None:
    source = mailbox(tmp_path / "in.mbox", range(1200))
    with source.open("ab") as file:
        file.write(mbox(*(mail(b"> quoted", subject="Re: x") for _ in range(30))))
    command = [sys.executable, "-c", KILLED, source, tmp_path / "out", minilm / "tokenizer.json"]
    process = subprocess.Popen([str(part) for part in command])
    try:
        while _documents(tmp_path / "out") < documents and process.poll() is None:
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 0 < _documents(tmp_path / "out") < 1200
    read_in(source)
    read_in(source, out="undisturbed")
    assert rows(EVERYTHING) == rows(EVERYTHING, out="undisturbed")


@pytest.mark.parametrize("name", ["r-help-2025-2029.mbox", "spamassassin-easy-ham-1.mbox"])
def test_real_mail(tmp_path: Path, read_in: Ingest, rows: Rows, name: str) -> None:
    path = MAILBOXES / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    summary = read_in(path)
    envelopes = path.read_bytes().count(b"\n\nFrom ") + 1
    assert summary.read == summary.kept + summary.skipped == envelopes + summary.attachments
    assert rows("SELECT count(*) FROM skipped") == [(summary.skipped,)]
    assert summary.kept > 0.95 * envelopes
    assert summary.threads < 0.7 * summary.kept
    quoting = "SELECT count(*) FROM document WHERE title LIKE 're:%' AND text LIKE '%' || char(10) || '> %'"
    assert rows(quoting)[0][0] < 0.02 * summary.kept  # type: ignore[operator]


def test_what_stands_in_front_of_a_passage_is_a_setting(
    tmp_path: Path, read_in: Ingest, rows: Rows
) -> None:
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(mail(b"It turns.", message_id="<1@x>", to="bob@x")))
    contents = {}
    for fields in (("title",), (), ("title", "sender", "date", "recipients")):
        read_in(path, settings=CorpusSettings(passage_header=fields))
        with Workspace(tmp_path / "out", write=False) as workspace:
            (passage,) = read_passages(workspace)
        contents[len(fields)] = passage.content
        index = IndexedPassage("k", "d", "i", "s", passage.title, "", None, "t", "k", passage.text)
        assert replace(index, header=passage.header).content == passage.content
    assert contents == {
        1: "Engines\nIt turns.",
        0: "It turns.",
        4: "Engines\nFrom: Ada Lovelace <ada@example.org>\nDate: 2002-08-22\nTo: bob@x\nIt turns.",
    }
    assert len(rows("SELECT * FROM passage")) == 1


def test_more_processes_give_the_same_rows(
    tmp_path: Path, minilm: Path, read_in: Ingest, rows: Rows
) -> None:
    path = mailbox(tmp_path / "in.mbox", range(1100))
    read_in(path)
    with Workspace(tmp_path / "parallel") as workspace:
        ingest(
            workspace, [path], CorpusSettings(), minilm / "tokenizer.json", Silent(), processes=2
        )
    assert rows(EVERYTHING) == rows(EVERYTHING, out="parallel")


WORKERS = """
import sys, time
from pathlib import Path
from customir.corpus.ingest import batches
from customir.corpus.workers import prepared
if __name__ == "__main__":
    import multiprocessing
    for _ in prepared(batches([Path(sys.argv[1])]), 2):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    path = mailbox(tmp_path / "in.mbox", range(1100))
    script = tmp_path / "run.py"
    script.write_text(WORKERS)
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert pids
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
