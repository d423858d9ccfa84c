"""The search page in a real browser, over the mail of a made-up museum.

CUSTOMIR_PICTURES=docs/assets python -m pytest tests/server/test_page.py -k accessible
takes the documentation's pictures of the page.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import BACKSPACE, DOWN, DRIVER, ENTER, ESCAPE, Browser, started_browser
from serving import TOKEN

from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage, build_index
from customir.server.limits import Limits

pytestmark = pytest.mark.skipif(DRIVER is None, reason="no chromedriver on this machine")

HERE = Path(__file__).parent
AXE = HERE / "vendor" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("CUSTOMIR_PICTURES")
NAMES = {
    ("start", "light", 1200): "search-page-start.png",
    ("conversation", "light", 1200): "search-page.png",
    ("results", "light", 360): "search-page-phone.png",
    ("conversation", "dark", 360): "search-page-phone-dark.png",
}

TITLES = "[...document.querySelectorAll('.hit h2')].map(one => one.textContent)"
FOCUSED = "document.activeElement.textContent"
STATE = "document.getElementById('state').textContent"
ADDRESS = "new URLSearchParams(location.search)"
QUERY = "return document.getElementById('query').value"
READING = "document.querySelector('#conversation h1')?.textContent"
TWICE = "Invoice 2041 was paid twice"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def museum(
    model: Path,
    make_passage: Callable[..., IndexedPassage],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """DIR with the museum's index."""
    folder = tmp_path_factory.mktemp("museum")
    shutil.copytree(model, folder / "model")
    passages = list(museum_passages(make_passage))
    build_index(folder / "index.db", passages, Embedder(model), Silent())
    return folder


def museum_passages(make_passage: Callable[..., IndexedPassage]) -> Iterator[IndexedPassage]:
    for number, thread in enumerate(json.loads((HERE / "museum_mail.json").read_text("utf-8"))):
        shared = {"source": "museum.mbox", "language": "en"}
        shared |= {name: value for name, value in thread.items() if name != "messages"}
        for place, message in enumerate(thread["messages"]):
            reply = "Re: " if place else ""
            fields = shared | message | {"title": reply + thread["title"], "thread": f"{number}"}
            fields["attachments"] = "\n".join(message.get("attachments", ()))
            yield make_passage(f"{number}-{place}", fields.pop("text"), **fields)


@pytest.fixture(scope="module")
def server(museum: Path, running: Any) -> Iterator[Any]:
    with running(museum) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Any) -> Browser:
    """The browser, at the page without a query."""
    browser.look()
    browser.open(f"{server.url}#token={TOKEN}")
    browser.wait("document.querySelector('.overview')")
    return browser


def search(page: Browser, typed: str, first: str = TWICE) -> None:
    """Type a query, and wait until the first hit is this one."""
    page.type(typed, "#query")
    page.wait(f"{TITLES}[0] === {json.dumps(first)}")


def test_hits_come_while_typing_one_for_each_conversation(page: Browser) -> None:
    search(page, "invoice paid twice")
    assert len(set(page.text(".hit h2"))) == len(page.text(".hit h2"))
    assert {"invoice", "paid", "twice"} <= set(page.text(".hit mark"))
    first = page.text(".hit")[0]
    for shown in ("14 Sept 2026", "Tom Okafor", "museum.mbox", "4 messages"):
        assert shown in first
    page.type(BACKSPACE * len("invoice paid twice") + "newsletter", "#query")
    page.wait(f"{TITLES}[0].startsWith('Newsletter')")
    assert "2 near-duplicates" in page.text(".hit")[0]


def test_an_answer_that_is_overtaken_is_dropped(page: Browser) -> None:
    page.run(
        "const now = window.fetch;"
        "window.fetch = (path, options) => !path.includes('q=humidity') ? now(path, options)"
        " : new Promise(done => setTimeout(() => done(now(path, {headers: options.headers})), 700));"
    )
    page.type("humidity", "#query")
    page.wait(f"{ADDRESS}.get('q') === 'humidity'")  # which is asked for now
    search(page, BACKSPACE * len("humidity") + "invoice paid twice")
    page.run("return new Promise(done => setTimeout(done, 1000))")
    assert page.text(".hit h2")[0] == TWICE


def test_the_address_says_what_is_shown(page: Browser, server: Any) -> None:
    search(page, "invoice paid twice")
    page.click(".hit h2 a")
    page.wait(f"{READING} === {json.dumps(TWICE)}")
    link = page.run("return location.href")
    assert TOKEN not in link
    page.back()
    page.wait(f"document.getElementById('conversation').hidden && {TITLES}.length")
    page.back()  # all that was typed is one step
    page.wait("document.querySelector('.overview')")
    assert page.run(QUERY) == ""
    page.forward()
    page.wait(f"{TITLES}[0] === {json.dumps(TWICE)}")
    page.open(link)
    page.wait(f"{READING} === {json.dumps(TWICE)} && {TITLES}.length")
    assert page.run(QUERY) == "invoice paid twice"


def test_the_token_is_taken_from_the_link_and_leaves_no_trace(page: Browser, server: Any) -> None:
    assert page.run("return location.href") == server.url
    assert page.run("return sessionStorage.getItem('token')") == TOKEN
    page.open(server.url)  # the same tab goes on with it
    search(page, "invoice paid twice")
    loaded = page.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert not [name for name in loaded if TOKEN in name]


def test_a_facet_narrows_the_search_and_widens_it_again(page: Browser) -> None:
    search(page, "invoice paid twice")
    for value, added in (
        ("Priya Raman <priya@fjord-museum.example>", "from:priya@fjord-museum.example"),
        ("2026-09", "after:2026-09 before:2026-10"),
        ("handbook", "in:handbook"),
        ("de", "language:de"),
    ):
        row = f"#facets a[title='{value}']"
        counted = page.text(f"{row} .number")
        page.click(row)
        page.wait(f"""document.querySelector("{row}")?.hasAttribute('aria-current')""")
        assert page.run(QUERY) == f"invoice paid twice {added}"
        assert page.run(f"return {ADDRESS}.get('q')") == page.run(QUERY)
        assert page.text(f"{row} .number") == counted  # it finds what it counted
        assert len(page.text(".chip")) == len(added.split())
        page.click(row)
        page.wait("!document.querySelector('#facets [aria-current]')")
    assert page.run(QUERY) == "invoice paid twice"


def test_a_filter_is_taken_away(page: Browser) -> None:
    search(page, 'from:priya "came in twice" -draft', "Two transfers to the framer")
    assert set(page.text(".hit .sender")) == {"Priya Raman"}
    assert page.text(".chip") == ["from: priya×", "“came in twice”×", "not “draft”×"]
    page.click(".chip")
    page.wait("document.querySelectorAll('.chip').length === 2")
    page.click(".chip")
    page.wait("document.querySelectorAll('.chip').length === 1")
    assert page.run(QUERY) == "-draft"


def test_a_conversation_is_read_beside_the_hits(page: Browser) -> None:
    search(page, "refund has arrived, rule for reminders", f"Re: {TWICE}")
    page.click(".hit h2 a")
    page.wait(f"{READING} === {json.dumps(TWICE)}")
    senders = page.text(".message .sender")
    assert senders == ["Tom Okafor", "Mara Lindqvist", "Billing, Nordlicht Shipping", "Tom Okafor"]
    assert "The refund from Nordlicht has arrived." in page.text(".passage")[0]
    assert "refund" in page.text(".passage mark")
    seen = "const at = document.querySelector('.passage').getBoundingClientRect(); return at.top >= 0 && at.bottom <= innerHeight"
    assert page.run(seen)  # the last message of four: it was scrolled to
    assert page.text(".message p:last-child")[-2:]
    assert "confirmation-2041.pdf" in page.text(".message")[2]
    quoted = page.run("return [...document.querySelectorAll('.quoted')].map(one => one.open)")
    assert quoted == [False]
    assert page.text(".quoted summary") == ["Quoted text, 2 lines"]
    assert page.text(".hit.open h2") == [f"Re: {TWICE}"]
    page.click(".close")
    page.wait("document.getElementById('conversation').hidden")
    assert page.run(f"return {FOCUSED}") == f"Re: {TWICE}"


def test_more_like_this(page: Browser) -> None:
    search(page, "invoice paid twice")
    page.click(".hit .like")
    page.wait(f"{STATE}.endsWith({json.dumps(f'like “{TWICE}”')})")
    assert TWICE not in page.text(".hit h2")
    assert "Two transfers to the framer" in page.text(".hit h2")[:3]
    assert page.run(f"return {ADDRESS}.has('like') && !{ADDRESS}.has('q')")


def test_the_keyboard_alone(page: Browser) -> None:
    search(page, "invoice paid twice")
    page.type(DOWN)
    titles = page.text(".hit h2")
    assert page.run(f"return {FOCUSED}") == titles[0]
    for key, place in (("j", 1), ("j", 2), ("k", 1)):
        page.type(key)
        assert page.run(f"return {FOCUSED}") == titles[place]
    page.type(ENTER)
    page.wait(f"{READING}")
    assert page.run(f"return {FOCUSED}") == page.run(f"return {READING}")
    page.type("k")  # the conversation of the hit before
    page.wait(f"{READING} === {json.dumps(TWICE)}")
    page.type(ESCAPE)
    page.wait("document.getElementById('conversation').hidden")
    assert page.run(f"return {FOCUSED}") == titles[0]
    page.type("?")
    page.wait("document.getElementById('help').open")
    page.type(ESCAPE)
    page.wait("!document.getElementById('help').open")
    page.type("/")
    assert page.run("return document.activeElement.id") == "query"
    assert page.run(QUERY) == "invoice paid twice"


def test_a_wrong_operator_is_told_and_the_hits_stay(page: Browser) -> None:
    search(page, "invoice paid twice")
    page.type(" before:soon", "#query")
    page.wait("document.querySelector('#notice').textContent.includes('not a date')")
    assert page.text(".hit h2")[0] == TWICE
    page.type(BACKSPACE * len("soon") + "2026-04", "#query")
    page.wait("!document.querySelector('#notice').textContent")
    page.wait(f"!{TITLES}.includes({json.dumps(TWICE)})")


def test_without_a_token_the_page_says_how_to_get_it(page: Browser, server: Any) -> None:
    page.run("sessionStorage.clear()")
    page.open(f"{server.url}?q=invoice+paid+twice")
    page.wait("document.querySelector('#notice').textContent.includes('customir serve')")
    page.type(f"http://elsewhere/#token=wrong{ENTER}", ".token input")
    page.wait("document.querySelector('#notice').textContent.includes('another token')")
    page.type(f"{server.url}#token={TOKEN}{ENTER}", ".token input")
    page.wait(f"{TITLES}[0] === {json.dumps(TWICE)}")
    assert not page.text("#notice *")


def test_a_link_opened_in_a_new_tab_gets_the_token_from_the_first(
    page: Browser, server: Any
) -> None:
    first = page.call("GET", "/window")
    page.call(
        "POST", "/window", {"handle": page.call("POST", "/window/new", {"type": "tab"})["handle"]}
    )
    try:
        page.open(f"{server.url}?q=invoice+paid+twice")
        page.wait(f"{TITLES}[0] === {json.dumps(TWICE)}")
    finally:
        page.call("DELETE", "/window")
        page.call("POST", "/window", {"handle": first})


def test_a_busy_and_a_silent_server_can_be_tried_again(
    browser: Browser, museum: Path, running: Any
) -> None:
    with running(museum, Limits(waiting=0)) as busy:
        browser.open(f"{busy.url}?q=invoice#token={TOKEN}")
        browser.wait(
            "document.querySelector('#notice').textContent.includes('The server is busy.')"
        )
    browser.click("#notice button")
    browser.wait(
        "document.querySelector('#notice').textContent.includes('The server does not answer.')"
    )
    assert browser.text("#notice button") == ["Try again"]


def test_mail_is_shown_as_text_never_run(
    browser: Browser,
    server: Any,
    running: Any,
    tmp_path: Path,
    model: Path,
    make_passage: Callable[..., IndexedPassage],
) -> None:
    shutil.copytree(model, tmp_path / "model")
    script = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> tulips 🍣"
    hostile = make_passage("hostile", script, title=script, sender=script, source=script)
    build_index(tmp_path / "index.db", [hostile], Embedder(model), Silent())
    with running(tmp_path) as server:
        browser.open(f"{server.url}?q=tulips#token={TOKEN}")
        browser.wait(f"{TITLES}.length")
        browser.click(".hit h2 a")
        browser.wait(READING)
        assert browser.text("#conversation h1") == [script]
        assert browser.text(".passage mark") == ["tulips"]
        assert browser.run("return document.title") == "tulips – CustomIR"
        assert browser.run("return document.images.length") == 1  # the page's own


def test_nothing_is_asked_of_another_server(page: Browser, server: Any) -> None:
    search(page, "invoice paid twice")
    loaded = page.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert any("/search?" in name for name in loaded)
    assert all(name.startswith(server.url) for name in loaded)
    policy = server.ask("GET", "/", token=None)[1]["content-security-policy"]
    assert "unsafe" not in policy


VIEWS = {
    "start": ("", "document.querySelector('.examples')"),
    "results": ("?q=something+was+paid+twice", f"{TITLES}.length > 3"),
    "nothing": (
        "?q=paid+from:nobody",
        "document.querySelector('.overview h2')?.textContent === 'Nothing found'",
    ),
    "error": ("?q=paid+before:soon", "document.querySelector('.box')"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_is_accessible_and_fits_the_window(
    browser: Browser, server: Any, scheme: Any, width: int
) -> None:
    """axe-core finds nothing in any view, and nothing is wider than the window."""
    browser.look(width, 660, scheme)

    def check(view: str) -> None:
        if not browser.run("return 'axe' in window"):
            browser.run(AXE.read_text("utf-8") + "; window.axe = axe")
        found = browser.run("return axe.run().then(all => all.violations)")
        told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert not told, view
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), view
        if PICTURES and (name := NAMES.get((view, scheme, width))):
            browser.picture(Path(PICTURES, name))

    for view, (address, ready) in VIEWS.items():
        browser.open(f"{server.url}{address}#token={TOKEN}")
        browser.wait(ready)
        check(view)
        if view == "results":
            browser.run(
                "[...document.querySelectorAll('.hit h2 a')].find(one => one.textContent.includes(arguments[0])).click()",
                TWICE,
            )
            browser.wait(READING)
            check("conversation")
            browser.run("document.querySelector('.close').click()")
            if width == 360:
                browser.run("document.getElementById('narrow').click()")
                check("filters")
            browser.run("document.getElementById('help-button').click()")
            check("help")
