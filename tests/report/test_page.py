"""report.html: what it holds, that nothing breaks out of it, and that a browser shows it."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from customir.evaluation.breakdown import EXAMPLES, SHOWN_HITS, by_style, won_and_lost
from customir.report.page import _points, page_text, write_page
from customir.settings import EvaluationSettings, Settings
from customir.workspace import Workspace
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
EVIL = "<script>document.title='hacked'</script><img src=x onerror=alert(1)> & \" ' </style>"
CURVE = {str(k): value for k, value in zip((1, 2, 3, 5, 10, 20, 50, 100), np.linspace(0.3, 0.9, 8), strict=True)}  # fmt: skip


def row(system: str, recall: float, *difference: float) -> dict[str, Any]:
    made: dict[str, Any] = {"system": system, "curve": CURVE}
    for name in ("Recall@10", "nDCG@10", "MRR@10"):
        made[name] = recall
        if difference:
            made[f"{name} difference"] = difference
    return made


def example(before: int | None, after: int | None, text: str) -> dict[str, Any]:
    hits = [[text, False], ["the coffee machine " * 8, True], ["parking", False]]
    return {
        "query": text, "style": "need", "answer": text, "before": before, "after": after,
        "hits_before": hits, "hits_after": hits[::-1],
    }  # fmt: skip


def details(text: str) -> dict[str, dict[str, Any]]:
    """What the stages leave, with `text` in each place where text of the corpus can be."""
    random = np.random.default_rng(0)
    return {
        "ingest": {
            "read": 900, "kept": 880, "skipped": 20, "threads": 300, "passages": 1200,
            "duplicate_groups": 12, "duplicate_passages": 30,
        },
        "generate": {
            "sampled_passages": 600, "held_out_only": False, "written": 2400, "rejected": {"too short": 30},
            "kept_by_style": {"need": 900, "question": 800}, "kept_by_split": {"train": 1700},
            "tokens": {"submitted": 1, "computed": 1},
            "samples": [{"style": "need", "text": text, "passage": "p"}] * 5,
            "map": {
                "points": [
                    [float(x) + topic % 4, float(y) + topic // 4, topic]
                    for topic in range(12) for x, y in random.normal(0, 0.3, (40, 2))
                ],
                "topics": [[f"{text[:40]}{n}", "second", "third"] for n in range(12)],
            },
        },
        "mine": {
            "candidates": 700, "verdicts": {"negative": 610, "relevant": 90}, "required_near_auc": 0.67,
            "calibration": {
                "auc": 0.91, "threshold": 0.3, "true_positive_rate": 0.85, "pairs": 150,
                "false_positive_rate": 0.1, "used": True, "near_auc": 0.7,
                "roc": [[0, 0], [0.05, 0.6], [0.1, 0.85], [0.5, 0.97], [1, 1]],
            },
        },
        "train": {
            "examples": 1700, "negatives": 900, "steps": 60, "padding": 0.03,
            "losses": (2 * np.exp(-np.arange(60) / 20) + 0.5).round(3).tolist(), "adapter": "x",
        },
        "evaluate": {
            "queries": 400, "threads": 120, "weight": 0.75, "reason": f"Surely better. {text}",
            "table": [
                row("BM25", 0.55, -0.1, -0.16, -0.04, 0.001), row("base", 0.65),
                row("hybrid of BM25 and base", 0.68, 0.03, -0.01, 0.07, 0.2),
                row("mpnet", 0.66, 0.01, -0.03, 0.05, 0.5), row("adapted", 0.72, 0.07, 0.04, 0.1, 0.0001),
                row("hybrid of BM25 and adapted", 0.74, 0.09, 0.05, 0.13, 0.0001),
            ],
            "dev": [
                {"weight": a, "Recall@10": 0.6 + 0.1 * a, "nDCG@10": 0.5 + 0.1 * a - 0.05 * a * a}
                for a in (0.0, 0.25, 0.5, 0.75, 1.0)
            ],
            "self_supervised": {
                "styles": {"subject": 300, "reply": 150},
                "dev": [{"weight": a, "Recall@10": 0.5 + 0.1 * a, "nDCG@10": 0.4} for a in (0.0, 0.5, 1.0)],
                "table": [row("base", 0.5), row("adapted", 0.55, 0.05, 0.02, 0.08, 0.001)],
            },
            "by_style": [
                {"style": style, "queries": 100, "base": 0.6, "adapted": 0.7, "difference": found}
                for style, found in (
                    ("keywords", [0.1, 0.05, 0.15, 0]), ("need", [0.02, -0.04, 0.08, 0.5]),
                    (text, [-0.06, -0.1, -0.01, 0.04]),
                )
            ],
            "examples": {
                "won": [example(40, 1, text), example(None, 3, "b" * 300)],
                "lost": [example(1, None, text)],
            },
        },
        "export": {
            "table": [row("adapted INT8", 0.718, 0.068, 0.035, 0.1, 0.0001)],
            "sizes": {"model.safetensors": 90_000_000, "model_qint8.onnx": 22_800_000},
        },
        "index": {"total": 1200},
    }  # fmt: skip


def page(folder: Path, text: str, without: tuple[str, ...] = ()) -> Path:
    with Workspace(folder) as workspace:
        for number, (stage, detail) in enumerate(details(text).items()):
            if stage not in without:
                workspace.begin_stage(stage, "print")
                workspace.finish_stage(stage, detail)
                workspace.database.execute(
                    "UPDATE stage SET seconds = ? WHERE name = ?", (7.0 * number**3, stage)
                )
        workspace.database.execute("INSERT INTO skipped VALUES ('in.mbox', ?, 'empty')", (text,))
        return write_page(workspace, Settings(sources=(f"/mail/{text[:30]}.mbox",)))


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
    tags.feed(path.read_text(encoding="utf-8"))
    return tags


def test_it_says_all_the_verdict_first_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    path = page(tmp_path, "who fixes it")
    assert path.stat().st_mode & 0o777 == 0o600
    found = read(path)
    for title in (
        "Recall@k", "Gain by query style", "Interpolation weight", "Largest gains", "Largest losses", "Map",
        "ROC curve", "Loss", "Stages", "Files", "mpnet", "adapted INT8",
        "+0.070 (+0.040 to +0.100)", "rank 40 → 1", "rank 1 → –", "22.8 MB",
    ):  # fmt: skip
        assert title in found.text, title
    assert found.text.index(
        "Ships: the adapted model, with interpolation weight 0.75"
    ) < found.text.index("Every system")
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & found.tags
    assert not {"src", "href", "action", "style"} & found.attributes
    assert "url(" not in path.read_text()
    assert "@import" not in path.read_text()
    assert "default-src 'none'" in path.read_text()


def test_no_text_of_the_corpus_becomes_markup(tmp_path: Path) -> None:
    plain, evil = read(page(tmp_path / "a", "who fixes it")), read(page(tmp_path / "b", EVIL))
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert evil.text.count(EVIL) >= 8, "it is shown as it is"


@pytest.mark.parametrize("stage", list(details("")))
def test_a_stage_that_has_not_run_is_left_out(tmp_path: Path, stage: str) -> None:
    assert "<main>" in page(tmp_path, "x", without=(stage,)).read_text()


def test_an_empty_workspace_and_one_without_a_share_have_a_page(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        assert "Not evaluated yet" in page_text(workspace, Settings())
        nothing = {
            "queries": 0, "threads": 0, "weight": 0.0, "reason": "No dev queries.", "dev": [],
            "self_supervised": {"styles": {}, "dev": [], "table": []},
            "table": [{"system": "base", "Recall@10": None, "nDCG@10": None, "MRR@10": None, "curve": {}}],
        }  # fmt: skip
        workspace.begin_stage("evaluate", "print")
        workspace.finish_stage("evaluate", nothing)
        assert "Ships: the base model" in page_text(workspace, Settings())


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


QUERIES = [
    Query(f"q{n}", f"p{n}", "need" if n % 2 else "keywords", f"query {n}", None, "test")
    for n in range(20)
]
PASSAGES = [
    Passage(f"p{n}", f"d{n}", 0, f"text {n} " * 60, f"p{n}", "", f"t{n}") for n in range(30)
]


def test_queries_won_and_lost_by_hand() -> None:
    qrels = {query.key: {query.passage: 1} for query in QUERIES}
    before = [np.array([n, 25, 26, 27]) for n in range(20)]
    after = [row.copy() for row in before]
    before[3], after[3] = np.array([25, 26, 3]), np.array([3, 25, 26])
    before[4], after[4] = np.array([25, 26, 27]), np.array([25, 4, 26])
    before[5], after[5] = np.array([5, 25, 26]), np.array([25, 26, 27])
    won, lost = won_and_lost(QUERIES, PASSAGES, qrels, {"a": before, "b": after}, "a", "b")
    assert [(e.query, e.before, e.after) for e in won] == [("query 3", 3, 1), ("query 4", None, 2)]
    assert [(e.query, e.before, e.after) for e in lost] == [("query 5", 1, None)]
    assert [right for _, right in won[0].hits_after] == [True, False, False]
    assert len(won[0].hits_before) == SHOWN_HITS
    assert won[0].hits_after[0][0].startswith("text 3 text 3")
    all_won, none_lost = won_and_lost(
        QUERIES, PASSAGES, qrels, {"a": [np.array([29])] * 20, "b": after}, "a", "b"
    )
    assert len(all_won) == EXAMPLES
    assert none_lost == []


def test_the_gain_of_each_style_is_its_own() -> None:
    base = np.zeros(20)
    adapted = np.array([0.0, 1.0] * 10)
    keywords, need = by_style(
        QUERIES,
        base,
        adapted,
        [p.thread for p in PASSAGES[:20]],
        EvaluationSettings(resamples=1000),
        0,
    )
    assert (keywords["style"], keywords["queries"], keywords["difference"][0]) == (
        "keywords",
        10,
        0,
    )
    assert (need["style"], need["adapted"], need["difference"][:3]) == (
        "need",
        1.0,
        [1.0, 1.0, 1.0],
    )


def test_no_query_to_measure_by_is_a_dash() -> None:
    assert _points(None) == "–"
    assert _points(0.9) == "90.0"
