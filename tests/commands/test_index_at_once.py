"""`customir index SOURCE --out DIR`: searchable before any LLM or training, and by what is current."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from mail import write_mailbox

from customir.runtime import generations
from customir.runtime.index_file import CHECKSUMS
from customir.runtime.search import search


def customir(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir", *map(str, arguments)], capture_output=True, text=True
    )


def test_sources_are_searchable_by_the_base_and_new_mail_joins_them(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, new, out = tmp_path / "mail.mbox", tmp_path / "new.txt", tmp_path / "out"
    write_mailbox(mail, threads=4)
    monkeypatch.setenv("CUSTOMIR_MODELS", str(tmp_path))  # no LLM there
    done = customir("ingest", mail, "--out", out, "--embedder", minilm)
    assert done.returncode == 0, done.stderr
    done = customir("index", out)
    assert done.returncode == 0, done.stderr
    assert "passages. Search them" in done.stdout
    first = generations.current(out)
    assert search(out, "mail", 3)

    new.write_text("The turbine in hall nine was replaced by Zoe Quill last Tuesday.")
    done = customir("index", mail, new, "--out", out)
    assert done.returncode == 0, done.stderr
    assert search(out, "who replaced the turbine", 1)[0].identifier.endswith("new.txt")
    # The same model, so that only the new passage was embedded.
    assert generations.current(out) != first
    model = generations.MODEL_NAME
    checksums = Path(model) / "onnx" / "SHA256SUMS"
    assert (generations.current(out) / checksums).read_bytes() == (first / checksums).read_bytes()

    again = customir("index", mail, new, "--out", out)
    assert again.returncode == 0, again.stderr
    assert generations.current(out) != first

    index = generations.current(out) / generations.INDEX_NAME
    with closing(apsw.Connection(str(index), vfs=CHECKSUMS)) as database:
        database.pragma("user_version", 4)
    old = customir("search", out, "turbine")
    assert old.returncode == 2
    assert f"Update it from the sources: customir index --out {out}" in old.stderr
    assert customir("index", "--out", out).returncode == 0
    (hit,) = search(out, "who replaced the turbine", 1)
    assert (hit.language, hit.attachments) == ("en", ())


def test_without_out_one_folder_is_needed(tmp_path: Path) -> None:
    done = customir("index", tmp_path / "a.mbox", tmp_path / "b.mbox")
    assert done.returncode == 2
    assert "customir index SOURCE... --out DIR" in done.stderr
