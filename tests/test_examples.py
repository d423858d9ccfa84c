"""The programs in examples/ run as they stand, one after the other, on one small adaptation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TOPICS = ("pump", "invoice", "garden", "server", "contract", "lecture")
PLACES = ("Oslo", "Lima", "Cairo", "Perth", "Delhi", "Quito", "Riga", "Accra", "Seoul", "Bern")
# Small enough for a test.
SETTINGS = """
embedder = "{embedder}"
llm = "{llm}"
device = "cpu"
threads = 2
[queries]
passages = 40
queries_per_passage = 2
max_tokens = 12
[training]
epochs = 1
batch_size = 16
[evaluation]
interpolation_weights = [1.0]
reference_model = ""
"""


def run(name: str, *arguments: object) -> str:
    """What the example prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def adapted(
    minilm: Path, smollm: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """DIR of the first example, and what it printed."""
    folder = tmp_path_factory.mktemp("examples")
    out = folder / "out"
    out.mkdir(mode=0o700)
    (out / "customir.toml").write_text(SETTINGS.format(embedder=minilm, llm=smollm))
    texts = [
        {
            "_id": f"{topic}-{place}",
            "title": f"The {topic} in {place}",
            "text": f"Who repairs the {topic} in {place}? The {topic} of the office in {place} has "
            f"been out of order since Monday, and nobody in {place} knows when it will be replaced.",
            "date": "2026-03-01",
        }
        for topic in TOPICS
        for place in PLACES
    ]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return out, run("adapt_texts.py", path, out)


def test_a_list_of_texts_is_adapted_to(adapted: tuple[Path, str]) -> None:
    _, printed = adapted
    assert "ships the adapted model:" in printed
    assert "base {'Recall@10'" in printed
    assert "a unit vector of 384 numbers" in printed
    assert "pump" in printed.splitlines()[-1]


def test_it_is_searched(adapted: tuple[Path, str]) -> None:
    printed = run("search.py", adapted[0], "the garden in Lima")
    assert "1 " in printed
    assert "The garden in Lima" in printed
    assert "since 2003: 3" in printed


def test_the_index_is_changed(adapted: tuple[Path, str]) -> None:
    printed = run("change_index.py", adapted[0])
    assert "found: Parking" in printed
    assert "note-1" not in printed.split("left:")[1]


def test_plain_onnxruntime_is_enough(adapted: tuple[Path, str]) -> None:
    assert "(1, 384)" in run("plain_onnxruntime.py", adapted[0] / "model")


def test_every_example_is_run_and_shown() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    docs = "".join(
        page.read_text(encoding="utf-8") for page in (EXAMPLES.parent / "docs").rglob("*.md")
    )
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in tests
        assert f"examples/{path.name}" in docs, f"no page shows {path.name}"
