"""What `customir search` prints of a mail cannot command a terminal."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_text import HOSTILE, SEQUENCES, run

from customir.progress import Silent
from customir.runtime import Embedder, IndexedPassage, build_index


@pytest.fixture(scope="module")
def hostile(
    model: Path,
    make_passage: Callable[..., IndexedPassage],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """DIR with an index of one passage that has control characters in every field."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(model, folder / "model")
    fields = ("identifier", "source", "title", "sender")
    passage = make_passage(
        "mill", f"The mill turns {HOSTILE} all night.", **dict.fromkeys(fields, f"mill {HOSTILE}")
    )
    build_index(folder / "index.db", [passage], Embedder(model), Silent())
    return folder


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_search_prints_no_escape_sequence_of_a_mail(hostile: Path, more: tuple[str, ...]) -> None:
    shown = run("search", str(hostile), "mill", "--mode", "text", *more)
    assert "\\u001b]52;c;" in shown.replace("\r\n", "").replace(" ", "")
    assert not any(sequence in shown for sequence in SEQUENCES)
