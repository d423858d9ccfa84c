"""What tests share: the real models, as `make test` fetched them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from customir import models


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
