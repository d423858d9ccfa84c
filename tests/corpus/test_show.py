"""One message as found, cut and cut up."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from customir.corpus.ingest import IngestSummary
from customir.corpus.show import show
from customir.errors import UserError
from customir.workspace import Workspace

from .messages import mail, mbox

Ingest = Callable[..., IngestSummary]

BODY = """The mill turns. See https://x.org/mills/list/all-of-them?utm_source=us&utm_medium=you

On Mon, Jan 5, 2025 at 10:58 AM, Bob <b@x> wrote:
> Does the mill
> turn?

--
Ada
Tel. 123
"""


@pytest.fixture
def folder(tmp_path: Path, read_in: Ingest) -> Path:
    path = tmp_path / "in.mbox"
    path.write_bytes(
        mbox(
            mail(
                BODY.encode(),
                message_id="<1@x>",
                subject="Re: Engines",
                to="Bob <b@x>",
                cc="=?utf-8?Q?J=C3=B6rg?= <j@x>",
                references="<0@x>",
            ),
            mail(b"Does it turn?", message_id="<0@x>"),
            mail(b"> no", message_id="<2@x>", subject="Re: Engines"),
        )
    )
    read_in(path)
    path.unlink()
    return tmp_path / "out"


def test_original_cuts_and_passages_without_the_source(folder: Path) -> None:
    with Workspace(folder, write=False) as workspace:
        (shown,) = show(workspace, "1@x")
        assert show(workspace, shown.key) == show(workspace, "<1@x>") == [shown]
    assert shown.original.strip() == BODY.strip()
    assert shown.cleaned == "The mill turns. See https://x.org/mills/list/all-of-them"
    assert [(cut.cause, cut.text) for cut in shown.cuts] == [
        (
            "tracking link",
            "https://x.org/mills/list/all-of-them?utm_source=us&utm_medium=you",
        ),
        ("attribution", "On Mon, Jan 5, 2025 at 10:58 AM, Bob <b@x> wrote:"),
        ("quote", "> Does the mill\n> turn?"),
        ("signature", "--\nAda\nTel. 123"),
    ]
    assert [passage.text for passage in shown.passages] == [shown.cleaned]
    assert (shown.references, shown.in_thread) == (("<0@x>",), 2)
    assert shown.recipients == "Bob <b@x>, Jörg <j@x>"


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "customir.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_command_and_its_errors(folder: Path) -> None:
    said = command("show", folder, "<1@x>").stdout
    for part in ("--- Original", "--- Cut: quote, ", "--- Passage 1 of 1"):
        assert part in said
    (shown,) = json.loads(command("show", folder, "1@x", "--json").stdout)
    assert shown["cuts"][3]["cause"] == "signature"
    skipped = command("show", folder, "<2@x>")
    assert skipped.returncode == 2
    assert "skipped: nothing but quotes" in skipped.stderr
    with Workspace(folder, write=False) as workspace:
        for name, said in (("@x", "Similar: <0@x>, <1@x>"), ("nobody", "prints identifiers")):
            with pytest.raises(UserError, match=said):
                show(workspace, name)
