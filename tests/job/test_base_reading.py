"""That the base cannot read the corpus is said when the corpus is read, and in the report."""

import subprocess
import sys
from pathlib import Path

import pytest

from customir.queries.styles import PROMPTS


def ingest(folder: Path, code: str) -> str:
    """Write notes in this language, read them, and return what was printed."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    for number, example in enumerate(PROMPTS[code].examples):
        (notes / f"{number}.txt").write_text(example.passage)
    command = [sys.executable, "-m", "customir", "ingest", "notes", "--out", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("code", ["ja", "zh"])
def test_a_script_that_the_base_cannot_read_is_said(
    code: str, minilm: Path, tmp_path: Path
) -> None:
    said = ingest(tmp_path, code)
    assert f"The base minilm cannot read 100% of the passages ({code})" in said
    assert "of the tokens are unknown to it" in said
    assert "--embedder" in said
    report = (tmp_path / "out/report.md").read_text()
    assert "| passages that the base cannot read | 100% |" in report


def test_another_language_is_said_and_english_is_not(minilm: Path, tmp_path: Path) -> None:
    said = ingest(tmp_path / "de", "de")
    assert "splits the main language of the corpus (de) into short pieces" in said
    assert "The base" not in ingest(tmp_path / "en", "en")
