"""The search page in a real browser: headless Chromium, driven through its WebDriver."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN

from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage, build_index

DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(DRIVER is None, reason="no chromedriver on this machine")

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # https://www.w3.org/TR/webdriver2/#elements
DOWN, ENTER, ESCAPE = "\ue015", "\ue007", "\ue00c"


class Browser:
    """The few commands of WebDriver that are needed here."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        self._session = ""
        started = self.call("POST", "/session", {"capabilities": wanted})
        self._session = f"/session/{started['sessionId']}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._driver + self._session + path, content, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Load a page, even where only what follows the # is new."""
        for each in ("about:blank", url):
            self.call("POST", "/url", {"url": each})

    def find(self, selector: str) -> str:
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[ELEMENT]}"

    def type(self, keys: str, selector: str | None = None) -> None:
        """Type into an element, or into the one that has the focus."""
        target = (
            self.find(selector)
            if selector
            else f"/element/{self.call('GET', '/element/active')[ELEMENT]}"
        )
        self.call("POST", f"{target}/value", {"text": keys})

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        end = time.monotonic() + 30
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"still not: {script}: {self.run(STATE)}"
            time.sleep(0.05)
        return found

    def close(self) -> None:
        self.call("DELETE", "")


STATE = "return document.getElementById('state').textContent"
FOUND = f"{STATE}.endsWith('found') || {STATE.removeprefix('return ')}.startsWith('Nothing')"
TITLES = "return [...document.querySelectorAll('h2')].map(one => one.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                browser = Browser(f"http://127.0.0.1:{port}")
                break
            except urllib.error.URLError:
                assert time.monotonic() < end, "chromedriver does not start"
                time.sleep(0.2)
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def server(
    model: Path,
    passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage],
    tmp_path_factory: pytest.TempPathFactory,
    running: Any,
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(model, folder / "model")
    more = [
        make_passage(
            "reply", "Sushi, please: 🍣 for me.", title="Re: lunch", thread="thread-lunch"
        ),
        make_passage("script", "<script>document.title='owned'</script> <b>tulips</b>"),
    ]
    build_index(folder / "index.db", [*passages, *more], Embedder(model), Silent())
    with running(folder) as server:
        yield server


def test_typing_a_query_shows_marked_hits(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type(f"vote pizza{ENTER}")  # the query has the focus
    browser.wait(FOUND)
    assert browser.run(TITLES)[0] == "About lunch"
    assert browser.run("return document.querySelector('mark').textContent") == "Pizza"


def test_the_token_is_taken_from_the_link_and_leaves_no_trace(
    browser: Browser, server: Any
) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    assert browser.run("return location.href") == server.url
    assert browser.run("return sessionStorage.getItem('token')") == TOKEN
    browser.open(server.url)  # the same tab goes on with it
    browser.type(f"vote pizza{ENTER}")
    browser.wait(FOUND)
    assert browser.run(TITLES)[0] == "About lunch"
    loaded = browser.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert not [name for name in loaded if TOKEN in name]


def test_the_keyboard_goes_through_hits_and_into_a_thread(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type(f"vote pizza{ENTER}")
    browser.wait(FOUND)
    browser.type(DOWN)
    focused = "return document.activeElement.querySelector('h2')?.textContent"
    assert browser.run(focused) == "About lunch"
    browser.type("j")
    assert browser.run(focused) not in (None, "About lunch")
    browser.type("k")
    assert browser.run(focused) == "About lunch"
    browser.type(ENTER)
    browser.wait(f"{STATE}.startsWith('The thread: 2')")
    assert sorted(browser.run(TITLES)) == ["About lunch", "Re: lunch"]
    assert "🍣" in browser.run("return document.getElementById('hits').textContent")
    browser.type(ESCAPE)
    browser.wait(FOUND)
    assert browser.run(TITLES)[0] == "About lunch"
    assert browser.run("return document.activeElement.id") == "query"


def test_a_pointer_alone_goes_into_a_thread_and_back(browser: Browser, server: Any) -> None:
    browser.call("POST", "/window/rect", {"width": 390, "height": 844})
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type(f"vote pizza{ENTER}")
    browser.wait(FOUND)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    browser.call("POST", f"{browser.find('article button')}/click", {})
    browser.wait(f"{STATE}.startsWith('The thread: 2')")
    browser.call("POST", f"{browser.find('#state button')}/click", {})
    browser.wait(FOUND)
    assert browser.run(TITLES)[0] == "About lunch"


def test_filters_narrow_what_is_found(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type("nobody@example.org", "input[name=sender]")
    browser.type(f"pizza{ENTER}", "#query")
    browser.wait(f"{STATE} === 'Nothing found.'")
    assert browser.run(TITLES) == []


def test_mail_is_shown_as_text_never_run(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type(f"tulips{ENTER}")
    browser.wait(FOUND)
    assert "<b>tulips</b>" in browser.run("return document.querySelector('.text').textContent")
    assert browser.run("return document.title") == "CustomIR"


def test_a_fault_is_shown(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.run("document.querySelector('option').value = 'magic'")
    browser.type(f"pizza{ENTER}", "#query")
    browser.wait(f"{STATE}.startsWith('mode: ')")


def test_nothing_is_asked_of_another_server(browser: Browser, server: Any) -> None:
    browser.open(f"{server.url}#token={TOKEN}")
    browser.type(f"pizza{ENTER}")
    browser.wait(FOUND)
    loaded = browser.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded
    assert all(name.startswith((server.url, "data:")) for name in loaded)
