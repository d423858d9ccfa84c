"""What the stages of a run leave for the report, made up: for tests of the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from customir.report.run import Run
from customir.settings import Settings
from customir.workspace.documents import SkippedRow

CURVE = {str(k): value for k, value in zip((1, 2, 3, 5, 10, 20, 50, 100), np.linspace(0.3, 0.9, 8), strict=True)}  # fmt: skip


def row(system: str, recall: float, *difference: float) -> dict[str, Any]:
    made: dict[str, Any] = {"system": system, "curve": CURVE}
    for name, share in (("Recall@10", 1.0), ("nDCG@10", 0.8), ("MRR@10", 0.7)):
        made[name] = share * recall
        if difference:
            made[f"{name} difference"] = difference
    return made


def example(before: int | None, after: int | None, text: str) -> dict[str, Any]:
    """A query whose answer is found at these ranks."""

    def hits(rank: int | None) -> list[dict[str, Any]]:
        titles = ("Re: new coffee machine", text, "Parking on Friday")
        return [
            {"title": title, "text": f"The {title} is about {text}", "is_answer": place == rank}
            for place, title in enumerate(titles, start=1)
        ]

    return {
        "query": text, "style": "need", "rank_before": before, "rank_after": after,
        "hits_before": hits(before), "hits_after": hits(after),
    }  # fmt: skip


def details(text: str) -> dict[str, dict[str, Any]]:
    """What the stages leave, with `text` in each place where text of the corpus can be."""
    random = np.random.default_rng(0)
    return {
        "ingest": {
            "base_reading": {"languages": {"en": 1.0}, "unknown": 0.0, "characters": 3.1, "unreadable": 0.0, "advice": ""},
            "read": 900, "kept": 880, "skipped": 20, "threads": 300, "passages": 1200,
            "duplicate_groups": 12, "duplicate_passages": 30, "contained_passages": 2, "new": 880,
            "changed": 0, "removed": 0, "characters": 700_000, "cut": {"quote": 90_000},
        },
        "generate": {
            "sampled_passages": 600, "languages": [], "held_out_only": False, "written": 2400, "rejected": {"too short": 30},
            "kept_by_style": {"need": 900, "question": 800}, "kept_by_split": {"train": 1700},
            "tokens": {"submitted": 1, "computed": 1},
            "samples": [{"style": "need", "text": text, "passage": "p"}] * 5,
            "senders": [[text, 400], ["Ann <ann@example.org>", 30]],
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
                "false_positive_rate": 0.1, "used": True, "near_auc": 0.7, "near_positive_rate": 0.3,
                "low": -0.9, "high": 1.25,
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
            "candidate": "adapted", "missing": [], "pool": {"dev": 900, "test": 1200, "passages": 1200},
            "movement": {
                "rose": 31, "same": 340, "fell": 29,
                "won": [example(40, 1, text), example(None, 3, "b" * 200), example(2, 1, f"2 {text}")],
                "lost": [example(1, None, f"lost {text}"), example(1, 2, f"second {text}")],
                "unmoved": [],
            },
        },
        "export": {
            "table": [row("adapted INT8", 0.718, 0.068, 0.035, 0.1, 0.0001)],
            "sizes": {"model.safetensors": 90_000_000, "model_qint8.onnx": 22_800_000},
            "parity": {"mean_cosine": 0.9991, "min_cosine": 0.99}, "setting": "gptq",
        },
        "index": {"total": 1200},
    }  # fmt: skip


# Queries for the made-up museum's mail, ranks of the answer, and titles that are found.
MUSEUM_SEARCHES = (
    ("why could the teachers not get into their room", 6, 1, "Who has the key for the seminar room?",
     ("School tours in spring", "The website shows the old opening hours", "Keys"),
     ("Who has the key for the seminar room?", "Keys", "School tours in spring")),
    ("it is too damp for the paintings", 4, 1, "Humidity in gallery 3",
     ("If the climate alarm rings", "Loan of the Leiden globe", "Two transfers to the framer"),
     ("Humidity in gallery 3", "If the climate alarm rings", "Loan of the Leiden globe")),
    ("who pays the courier from Leiden", 1, 2, "Loan of the Leiden globe",
     ("Loan of the Leiden globe", "Train to Leiden, reimbursement", "Paying invoices"),
     ("Train to Leiden, reimbursement", "Loan of the Leiden globe", "Paying invoices")),
)  # fmt: skip
MUSEUM_MAIL = Path(__file__).parent / "server" / "museum_mail.json"


def museum_run(folder: Path) -> Run:
    """A made-up run on the made-up museum's mail, as the documentation's picture shows it."""
    threads = json.loads(MUSEUM_MAIL.read_text("utf-8"))
    texts = {thread["title"]: thread["messages"][0]["text"] for thread in threads}
    *won, lost = (
        {
            "query": query, "style": "need", "rank_before": before, "rank_after": after,
            **{
                name: [{"title": t, "text": texts[t], "is_answer": t == answer} for t in titles]
                for name, titles in (("hits_before", old), ("hits_after", new))
            },
        }
        for query, before, after, answer, old, new in MUSEUM_SEARCHES
    )  # fmt: skip
    run = run_of("museum", folder)
    run.evaluate["movement"].update(won=won, lost=[lost])
    return run


def run_of(text: str, folder: Path = Path("mail"), without: tuple[str, ...] = ()) -> Run:
    """A run with `text` in each place where text of the corpus can be; some stages left out."""
    summaries = {
        stage: {} if stage in without else detail for stage, detail in details(text).items()
    }
    return Run(
        folder=folder,
        settings=Settings(sources=(f"/mail/{text[:30]}.mbox",)),
        **summaries,
        training_queries={"subject": 300, "reply": 150, "need": 40, "question": 56},
        seconds=[(stage, 7.0 * number**3) for number, stage in enumerate(summaries)],
        skipped=[SkippedRow("in.mbox", text, "empty")],
    )
