"""What tests share: the real models, as `make test` fetched them."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from customir import models

# The fixtures of a test that needs one of the models that `make test` fetches.
MODEL_FIXTURES = {"minilm", "smollm"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a model, so that `make test-fast` can leave it out."""
    for item in items:
        if MODEL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.model)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return models.locate("minilm")


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct, the smallest LLM."""
    return models.locate("smollm2-135m")


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """Children heed Ctrl-C, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def open_network() -> Iterator[None]:
    """A test that blocks the network of this process would fail all tests after it: fail it here."""
    yield
    with socket.socket():
        pass
