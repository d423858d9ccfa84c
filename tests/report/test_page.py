"""report.html: what it holds, that nothing breaks out of it, and that a browser shows it.

CUSTOMIR_PICTURES=docs/assets python -m pytest tests/report/test_page.py -k accessible
takes the documentation's picture of the report.
"""

import html.parser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import DRIVER, Browser, started_browser
from sample_run import details, museum_run, run_of

from customir.cli.serve import serve
from customir.report.page import page_text, write_page
from customir.report.run import read_run
from customir.report.wording import SEARCH_PAGE
from customir.settings import Settings
from customir.workspace import Workspace

AXE = Path(__file__).parents[1] / "server" / "vendor" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("CUSTOMIR_PICTURES")
EVIL = "<script>document.title='hacked'</script><img src=x onerror=alert(1)> & \" ' </style>"


def page(folder: Path, text: str, without: tuple[str, ...] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    return write_page(run_of(text, folder, without))


class Tags(html.parser.HTMLParser):
    """Every tag, every attribute, and what is said in the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Tags:
    tags = Tags()
    tags.feed(re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    return tags


def test_it_says_all_the_gain_first_and_loads_nothing(tmp_path: Path) -> None:
    path = page(tmp_path, "who fixes it")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size < 1_000_000
    found = read(path)
    for text in (
        "Recall@k", "Gain by query style", "Interpolation weight", "Map", "ROC curve", "Loss", "Stages",
        "Files", "mpnet", "adapted INT8", "+0.070 (+0.040 to +0.100)", "22.8 MB",
        "The adapter learned from 300 subjects, 150 questions with their replies and 96 queries",
        f"customir serve {tmp_path}",
        "Ships: the adapted model, with interpolation weight 0.75",
    ):  # fmt: skip
        assert text in found.text, text
    in_order = (
        "among the first ten hits for 55 of 100 queries", "Searches, before and after",
        "answer at rank 40", "answer not in the top 100", "Every system", "The corpus",
    )  # fmt: skip
    places = [found.text.index(text) for text in in_order]
    assert places == sorted(places)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & found.tags
    assert not {"src", "action"} & found.attributes
    assert not re.findall(r"url\((?!#)|@import", path.read_text())
    assert "default-src 'none'" in path.read_text()


def test_each_search_is_linked_to_the_search_page(tmp_path: Path) -> None:
    (port,) = (option.default for option in serve.params if option.name == "port")
    (host,) = (option.default for option in serve.params if option.name == "host")
    assert f"http://{host}:{port}/" == SEARCH_PAGE
    query = "R&D: 100% of #1 + more"
    links = [value for value in read(page(tmp_path, query)).values if "?" in value and "/" in value]
    assert all(link.startswith(f"{SEARCH_PAGE}?q=") for link in links)
    assert {query, f"lost {query}", f"2 {query}"} <= {
        parse_qs(urlsplit(link).query)["q"][0] for link in links
    }


def test_no_text_of_the_corpus_becomes_markup(tmp_path: Path) -> None:
    plain, evil = read(page(tmp_path / "a", "who fixes it")), read(page(tmp_path / "b", EVIL))
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert evil.text.count(EVIL) >= 20, "it is shown as it is"


@pytest.mark.parametrize("stage", list(details("")))
def test_a_stage_that_has_not_run_is_left_out(tmp_path: Path, stage: str) -> None:
    assert "<main>" in page(tmp_path, "x", without=(stage,)).read_text()


def test_an_empty_workspace_has_a_page(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        assert "has not been evaluated yet" in page_text(read_run(workspace, Settings()))


def test_the_page_says_why_the_base_ships(tmp_path: Path) -> None:
    run = run_of("who fixes it", tmp_path)
    missing = ["On the queries that people wrote, nDCG@10 fell by more than chance can explain."]
    run.evaluate.update(weight=0.0, missing=missing, reason="Not significantly better.")
    text = page_text(run)
    assert "The original model stays, because no better one was found." in text
    assert missing[0] in text
    assert "this is what it would have changed" in text


def test_the_page_of_a_run_without_queries(tmp_path: Path) -> None:
    run = run_of("who fixes it", tmp_path, without=("generate", "train", "export"))
    nothing = {
        "queries": 0, "threads": 0, "weight": 0.0, "reason": "No dev queries.", "dev": [],
        "pool": {"dev": 90, "test": 90, "passages": 90},
        "missing": [], "self_supervised": {"styles": {}, "dev": [], "table": []},
        "table": [{"system": "base", "Recall@10": None, "nDCG@10": None, "MRR@10": None, "curve": {}}],
    }  # fmt: skip
    run.evaluate.clear()
    run.evaluate.update(nothing)
    text = page_text(run)
    assert "Ships: the base model. No dev queries." in text
    assert "Searches" not in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.mark.skipif(DRIVER is None, reason="no chromedriver on this machine")
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
@pytest.mark.slow
def test_a_browser_shows_it_and_it_is_accessible(
    tmp_path: Path, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    path = page(tmp_path / "out", EVIL)
    browser.look(width, 900, scheme)
    browser.open(path.as_uri())
    assert browser.run("return document.title") == "CustomIR report"
    assert browser.run("return document.documentElement.scrollWidth") <= width
    heights = "t => t.getBoundingClientRect().height"
    smallest = browser.run(
        f"return Math.min(...[...document.querySelectorAll('svg text')].map({heights}))"
    )
    assert smallest >= 9, "text in the plots stays legible (px)"
    assert browser.run("return document.querySelectorAll('svg[role=img]').length") >= 9
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.run(AXE.read_text("utf-8") + "; window.axe = axe")
    found = browser.run("return axe.run().then(all => all.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    if PICTURES and scheme == "light":
        browser.look(1100, 880)
        shown = tmp_path / "picture.html"
        shown.write_text(page_text(museum_run(Path("/home/mara/mail"))), "utf-8")
        browser.open(shown.as_uri())
        browser.picture(Path(PICTURES, "report.png"))
