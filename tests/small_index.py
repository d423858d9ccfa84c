"""A model folder as the exporters make it, and a small corpus."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from customir.progress import Silent
from customir.runtime import Embedder, IndexedPassage, build_index

TOPICS = {
    "outage": "The mail server was down this morning; the queue is being delivered now.",
    "budget": "The budget for the fourth quarter has to be approved before the board meeting.",
    "lunch": "Pizza or sushi on Friday? Please vote by noon, so that I can reserve a table.",
    "contract": "The supplier signed the gas contract; pipeline capacity is fixed until March.",
    "statistics": "How can a mixed model in R account for spatially correlated residuals?",
    "holiday": "I am out of the office until Monday and will read mail when I am back.",
    "security": "Somebody phished passwords; change yours and turn on two-factor sign-in.",
    "hiring": "The candidate for the analyst position comes for an interview on Tuesday.",
}


@pytest.fixture(scope="session")
def make_passage() -> Callable[..., IndexedPassage]:
    """Makes a passage of its own document, thread and near-duplicate group, or as told."""
    return _passage


def _passage(name: str, text: str, **fields: str) -> IndexedPassage:
    values = {
        "key": f"key-{name}",
        "document": f"document-{name}",
        "identifier": f"<{name}@example.org>",
        "source": "mail.mbox",
        "title": "",
        "sender": "Ann <ann@example.org>",
        "date": "2002-08-22T11:34:53+00:00",
        "thread": f"thread-{name}",
        "duplicates": f"key-{name}",
        "text": text,
    }
    return IndexedPassage(**(values | fields))


@pytest.fixture(scope="session")
def model(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM with both ONNX files. Not to be changed by a test."""
    from customir.exporters.int8 import quantize
    from customir.exporters.onnx import export_onnx
    from customir.exporters.similarity import HeldOut

    folder = tmp_path_factory.mktemp("runtime") / "model"
    shutil.copytree(minilm, folder)
    export_onnx(folder)
    quantize(folder, HeldOut(list(TOPICS.values())))
    return folder


@pytest.fixture
def spoilable(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(model, tmp_path / "spoilable"))


@pytest.fixture(scope="session")
def passages() -> list[IndexedPassage]:
    """One passage a topic, each with its own title."""
    return [_passage(name, text, title=f"About {name}") for name, text in TOPICS.items()]


@pytest.fixture(scope="session")
def folder(
    model: Path, passages: list[IndexedPassage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """DIR with the model and an index of these passages. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("indexed")
    shutil.copytree(model, folder / "model")
    build_index(folder / "index.db", passages, Embedder(model), Silent())
    return folder
