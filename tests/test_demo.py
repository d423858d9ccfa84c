"""The demo: the mail that it chooses, and its settings."""

import importlib.util
import mailbox
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from customir.settings import Settings, read_settings

DEMO = Path(__file__).parent.parent / "demo"


@pytest.fixture(scope="module")
def fetch_mail() -> ModuleType:
    specification = importlib.util.spec_from_file_location("fetch_mail", DEMO / "fetch_mail.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def message(name: str, subject: str, headers: str = "") -> bytes:
    return f"Message-ID: <{name}>\nSubject: {subject}\n{headers}\nFrom here on, {name}.\n".encode()


MESSAGES = [
    message("a1", "Printer on fire"),
    message("b1", "Lunch"),
    message("a2", "Re: something else", "In-Reply-To: <a1>\n"),
    message("a3", "third", "References: <a0>\n\t<a2>\n"),
    message("b2", "RE: [list]  Re: lunch"),
    message("c1", ""),
    message("d1", ""),
]


def test_threads_stand_together(fetch_mail: ModuleType) -> None:
    threads = fetch_mail.group_by_thread(MESSAGES)
    a1, b1, a2, a3, b2, c1, d1 = MESSAGES
    assert sorted(threads) == sorted([[a1, a2, a3], [b1, b2], [c1], [d1]])


@pytest.mark.parametrize("most", range(8))
def test_threads_are_chosen_whole(fetch_mail: ModuleType, most: int) -> None:
    threads = fetch_mail.group_by_thread(MESSAGES)
    chosen = fetch_mail.choose(threads, most)
    assert sum(map(len, chosen)) <= most
    assert all(thread in threads for thread in chosen)
    assert chosen == fetch_mail.choose(threads[::-1], most)
    assert len(fetch_mail.choose(threads, 7)) == len(threads)


def test_mbox_holds_every_message(fetch_mail: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "mail.mbox"
    program = (
        f"import sys; sys.path.insert(0, {str(DEMO)!r}); import fetch_mail; from pathlib import Path; "
        f"fetch_mail.write([{MESSAGES!r}], Path({str(path)!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [read["Message-ID"] for read in mailbox.mbox(path)] == [
        f"<{name}>" for name in ("a1", "b1", "a2", "a3", "b2", "c1", "d1")
    ]


def test_settings_are_those_of_today() -> None:
    """Names and values that the package takes: otherwise `read_settings` raises."""
    assert read_settings(DEMO, {}) != Settings()
