"""report.html: what it holds, that nothing breaks out of it, and that a browser shows it."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sample_run import details, run_of

from customir.cli.serve import serve
from customir.report.page import page_text, write_page
from customir.report.run import read_run
from customir.report.wording import SEARCH_PAGE
from customir.settings import Settings
from customir.workspace import Workspace

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_and_it_fits(tmp_path: Path, width: int) -> None:
    path = page(tmp_path / "out", EVIL)
    # A frame of the wanted width: Chromium's own window has a least one.
    probe = (
        f"<iframe src='{path.name}' style='border:0;width:{width}px;height:6000px'></iframe>"
        "<script>onload=()=>{const d=frames[0].document,r=d.documentElement;"
        "const small=[...d.querySelectorAll('svg text')].map(t=>t.getBoundingClientRect().height)"
        ".filter(h=>h).reduce((a,b)=>Math.min(a,b),99);"
        "document.body.append(JSON.stringify({title:d.title,scroll:r.scrollWidth,small,"
        "plots:d.querySelectorAll('svg[role=img]').length}))}</script>"
    )
    (path.parent / "probe.html").write_text(probe)
    result = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={max(width, 800)},6000", f"file://{path.parent / 'probe.html'}",
        ],
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    (found,) = re.findall(r"\{\"title.*?\}", result.stdout)
    shown = json.loads(found)
    assert shown["title"] == "CustomIR report"
    assert shown["plots"] >= 9
    assert shown["scroll"] <= width, "nothing sticks out sideways"
    assert shown["small"] >= 10, "text in the plots stays legible (px)"
