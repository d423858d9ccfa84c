"""Spam, trash, drafts and deleted mail: left out and counted, or read where that is asked for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from customir.corpus.ingest import IngestSummary
from customir.corpus.readers import read_source
from customir.corpus.readers.unwanted import cause_by_headers, cause_by_path
from customir.settings import CorpusSettings, read_settings

from .messages import mail, mbox

Ingest = Callable[..., IngestSummary]


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("M/cur/162.M1P1.host:2,S", ""), ("M/cur/162.M1P1.host:2,ST", "trash"),
        ("M/cur/162.M1P1.host:2,DS", "a draft"), ("M/cur/162.M1P1.host!2,T", "trash"),
        ("M/.Trash/cur/1:2,S", "trash"), ("M/.INBOX.Papierkorb/cur/1:2,S", "trash"),
        ("mail/Junk", "spam"), ("mail/Junk E-mail/1", "spam"), ("Thunderbird/Trash.sbd/Old", "trash"),
        ("Local/Drafts.mbox", "a draft"), ("Entwürfe/1.eml", "a draft"), ("Corbeille/1.eml", "trash"),
        ("Elementos eliminados/1.eml", "trash"), ("Корзина/1.eml", "trash"), ("下書き/1", "a draft"),
        ("垃圾邮件/1", "spam"), ("arora-h/deleted_items/1.", "trash"), ("inbox/,3", "deleted"),
        ("inbox/3", ""), ("Trashcan designs/1.eml", ""), ("Spam filters.mbox", ""),
        ("All mail Including Spam and Trash.mbox", ""),
    ],
)  # fmt: skip
def test_by_path(path: str, cause: str) -> None:
    assert cause_by_path(path).partition(":")[0] == cause


@pytest.mark.parametrize(
    ("labels", "status", "cause"),
    [
        ("Inbox,Important,Opened", "", ""), ("Spam", "", "spam"), ("Opened,Trash", "", "trash"),
        ("Entwürfe", "", "a draft"), ("Projects/Trash can", "", ""), ("", "0001", ""),
        ("", "0009", "deleted"), ("", "0008", "deleted"), ("", "10001", ""), ("", "x", ""),
    ],
)  # fmt: skip
def test_by_headers(labels: str, status: str, cause: str) -> None:
    assert cause_by_headers(labels, status).partition(":")[0] == cause


def mailbox(folder: Path) -> Path:
    """Seven mails, of which two are wanted; one of the others has an attachment."""
    folder.mkdir()
    note = b"Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nNote.\n"
    body = b"--b\n\nBuy.\n--b\n" + note + b"--b--\n"
    (folder / "All mail.mbox").write_bytes(
        mbox(
            mail(b"Wanted.", message_id="<1@x>", x_gmail_labels="Inbox"),
            mail(body, message_id="<2@x>", x_gmail_labels="Spam", content_type="multipart/mixed; boundary=b"),
            mail(b"Draft.", message_id="<3@x>", x_gmail_labels="=?utf-8?q?Entw=C3=BCrfe?="),
            mail(b"Gone.", message_id="<4@x>", x_mozilla_status="0009"),
        )
    )  # fmt: skip
    (folder / "Trash").mkdir()
    (folder / "Trash" / "1.eml").write_bytes(mail(b"Thrown away.", message_id="<5@x>"))
    (folder / "drafts").mkdir()
    (folder / "drafts" / "plan.txt").write_text("A plan is no mail, and stays.")
    return folder


def test_left_out_and_counted(tmp_path: Path, read_in: Ingest) -> None:
    source = mailbox(tmp_path / "in")
    found = read_in(source)
    assert (found.read, found.kept) == (7, 2)
    assert found.skipped_by_reason == {
        "left out as spam": 2, "left out as a draft": 1, "left out as deleted": 1,
        "left out as trash": 1,
    }  # fmt: skip
    everything = read_in(source, settings=CorpusSettings(include_unwanted=True))
    assert (everything.read, everything.kept, everything.skipped) == (7, 7, 0)


def test_a_file_that_is_named_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "Trash.mbox"
    path.write_bytes(mbox(mail(b"Thrown away.")))
    (item,) = read_source(path)
    assert item.unwanted == ""  # type: ignore[union-attr]


def customir(*arguments: str) -> str:
    """What the command says, in a process of its own: it blocks that process's network."""
    done = subprocess.run(
        [sys.executable, "-m", "customir", *arguments], capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_the_option_is_recorded(tmp_path: Path, minilm: Path) -> None:
    source = mailbox(tmp_path / "in")
    out = str(tmp_path / "out")
    assert "2 kept, 5 skipped" in customir(*["ingest", str(source), "--out", out])
    command = ["ingest", "--out", out, "--include-unwanted"]
    assert "7 kept, 0 skipped" in customir(*command)
    assert read_settings(Path(out), {}).corpus.include_unwanted


def test_columns_are_named_on_the_command_line(tmp_path: Path, minilm: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("Kennung;Freitext;Wer\n1;Die Mühle läuft.;Ada\n", encoding="utf-8")
    out = str(tmp_path / "out")
    refused = customir("ingest", str(table), "--out", out)
    assert "--columns text=NAME; there are: kennung, freitext, wer" in refused
    wrong = customir("ingest", str(table), "--out", out, "--columns", "text=Text")
    assert "no column is called 'Text'" in wrong
    short = customir("ingest", str(table), "--out", out, "--columns", "text")
    assert "give it as FIELD=NAME" in short
    columns = ["--columns", "text=Freitext", "--columns", "sender=wer"]
    found = customir("ingest", str(table), "--out", out, *columns)
    assert "1 kept, 0 skipped" in found


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        (".&BCEEPwQwBDw-", "spam"), (".INBOX.Gel&APY-schte Elemente", "trash"), ("Entw&APw-rfe", "a draft"),
        ("&AMk-l&AOk-ments supprim&AOk-s", "trash"), ("\u0045\u0301le\u0301ments supprime\u0301s", "trash"),
        ("R&-D", ""), ("A&B-C", ""), ("Q&A", ""), ("&2D0-", ""),
    ],
)  # fmt: skip
def test_folder_names_as_imap_encodes_them(folder: str, kind: str) -> None:
    assert cause_by_path(f"Mail/{folder}/cur/1.a:2,S").partition(":")[0] == kind
