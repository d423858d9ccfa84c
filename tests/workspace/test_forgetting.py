"""What was made of documents that have left the sources is gone from the workspace's bytes."""

from collections.abc import Sequence
from pathlib import Path

from mail import write_mailbox

from customir.corpus.ingest import ingest
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Unit, Workspace, complete
from customir.workspace.queries import Query, write_queries

WORD, SENDER, IDENTIFIER = "quokkaword", "zelda@secret.example", "gone-77@secret.example"
MAIL = f"""From {SENDER} Tue Oct  1 10:00:00 2024
From: Zelda <{SENDER}>
Subject: The regatta
Message-ID: <{IDENTIFIER}>
Date: Tue, 1 Oct 2024 10:00:00 +0000

The {WORD} of the regatta was ordered by the committee last week.

"""


def traces(folder: Path) -> set[str]:
    found = set()
    for path in folder.iterdir():
        content = path.read_bytes().lower()
        found |= {
            word for word in (WORD, SENDER, IDENTIFIER, "askedfor") if word.encode() in content
        }
    return found


def asked(workspace: Workspace, kind: str, texts: Sequence[str]) -> int:
    """Have results for `texts`; how many had to be computed."""
    computed: list[str] = []

    def compute(batch: Sequence[str]) -> list[bytes]:
        computed.extend(batch)
        return [text.encode() for text in batch]

    units = [Unit(f"{kind} {text}", text) for text in texts]
    complete(workspace, "generate", kind, units, compute, 100, Silent(), kind)
    return len(computed)


def test_what_was_made_of_a_message_that_is_gone_goes(tmp_path: Path, minilm: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    whole = mail.read_bytes()
    out = tmp_path / "out"

    def read() -> int:
        return ingest(
            workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent()
        ).removed

    mail.write_bytes(whole + MAIL.encode())
    with Workspace(out) as workspace:
        assert read() == 0
        (passage,) = workspace.database.execute(
            "SELECT key FROM passage WHERE text LIKE ?", (f"%{WORD}%",)
        ).fetchone()
        assert asked(workspace, "query", [f"askedfor {WORD}"]) == 1
        assert asked(workspace, "embedding", ["kept", f"embedded {WORD}"]) == 2
        assert asked(workspace, "judgment", [f"judged {WORD}", "earlier settings"]) == 2
        write_queries(workspace, [Query("q", passage, "need", f"askedfor {WORD}", None, "train")])
    assert traces(out) == {WORD, SENDER, IDENTIFIER, "askedfor"}

    mail.write_bytes(whole)
    with Workspace(out) as workspace:
        assert read() == 1
        # What the LLM wrote for the message is gone at once; the rest when all stages are done.
        assert traces(out) == {WORD}
        assert asked(workspace, "embedding", ["kept", "new"]) == 1
    with Workspace(out) as workspace:  # as if it had been stopped meanwhile
        assert read() == 0
        workspace.forget_removed()
        assert traces(out) == set()
        assert workspace.database.execute("SELECT key FROM result ORDER BY key").fetchall() == [
            ("embedding kept",), ("embedding new",),
        ]  # fmt: skip
        assert not workspace.removal_pending
        assert asked(workspace, "embedding", ["kept", "new"]) == 0


def test_where_nothing_was_removed_results_for_other_settings_stay(
    tmp_path: Path, minilm: Path
) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    with Workspace(tmp_path / "out") as workspace:
        for _ in range(2):
            ingest(workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent())
        asked(workspace, "judgment", ["earlier settings"])
        workspace.forget_removed()
        assert asked(workspace, "judgment", ["earlier settings"]) == 0
