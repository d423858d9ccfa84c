"""The report: what it must say, and text that can't break out of its tables."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sample_run import run_of

from customir.report.markdown import BLOCKS, CURVE_POINTS, report_text, sparkline, write_report
from customir.report.run import read_run
from customir.settings import Settings
from customir.workspace import Workspace


def row(
    system: str,
    recall: float | None,
    ndcg: float | None,
    mrr: float | None,
    difference: Sequence[float] = (),
) -> dict[str, object]:
    """As `SystemResult.as_row` gives it."""
    made: dict[str, object] = {"system": system, "Recall@10": recall, "nDCG@10": ndcg}
    made["MRR@10"] = mrr
    if difference:
        made |= {f"{name} difference": difference for name in ("Recall@10", "nDCG@10", "MRR@10")}
    return made


EVALUATED = {
    "queries": 40,
    "threads": 25,
    "pool": {"dev": 300, "test": 1400, "passages": 12000},
    "weight": 0.5,
    "missing": [],
    "reason": "Surely better than the base: nDCG@10 +0.081.",
    "table": [
        row("BM25", 0.5, 0.4, 0.3, [-0.1, -0.2, 0, 0.04]),
        row("base", 0.6, 0.5, 0.4),
        row("adapted", 0.7, 0.5814, 0.5, [0.081, 0.02, 0.15, 0.0012]),
    ],
    "by_style": [
        {"style": "need", "queries": 20, "base": 0.6, "adapted": 0.7, "difference": [0.1, 0, 0.2, 0.05]}
    ],
    "dev": [{"weight": 0.0, "Recall@10": 0.6, "nDCG@10": 0.5}, {"weight": 0.5, "Recall@10": 0.7, "nDCG@10": 0.6}],
    "self_supervised": {
        "styles": {"subject": 30, "reply": 12},
        "dev": [{"weight": 0.0, "Recall@10": 0.41, "nDCG@10": 0.31}, {"weight": 0.5, "Recall@10": 0.42, "nDCG@10": 0.32}],
        "table": [row("base", 0.44, 0.3, 0.2), row("adapted", 0.5, 0.4, 0.3, [0.06, 0.01, 0.11, 0.02])],
    },
}  # fmt: skip
MINED = {
    "candidates": 80,
    "verdicts": {"negative": 60, "ambiguous": 11, "relevant": 9},
    "required_near_auc": 0.67,
    "calibration": {
        "auc": 0.877, "threshold": -0.4, "true_positive_rate": 0.81,
        "false_positive_rate": 0.12, "pairs": 150, "used": True, "low": -0.9, "high": 1.25,
        "near_auc": 0.741, "near_positive_rate": 0.3,
    },
}  # fmt: skip
GENERATED = {
    "sampled_passages": 50, "languages": [], "held_out_only": True, "written": 200, "rejected": {"too short": 3, "copies a span": 17},
    "kept_by_style": {"need": 90}, "kept_by_split": {"train": 60, "dev": 10, "test": 20},
    "tokens": {"submitted": 9000, "computed": 3000},
    "samples": [{"style": "need", "text": "pipes | and `ticks`\nand <b>lines</b>", "passage": "p"}],
}  # fmt: skip


def finish(workspace: Workspace, stage: str, detail: dict[str, object]) -> None:
    workspace.begin_stage(stage, "print")
    workspace.finish_stage(stage, detail)


def test_it_says_what_was_found_the_verdict_first(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        finish(workspace, "generate", GENERATED)
        finish(workspace, "mine", MINED)
        finish(workspace, "evaluate", EVALUATED)
        path = write_report(read_run(workspace, Settings()))
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = text.splitlines()
    assert lines[2] == (
        "**The right passage is now among the first ten hits for 50 of 100 queries. With the "
        "original model it was for 44.**"
    )
    assert "Ships: the adapted model, with interpolation weight 0.5. Surely better" in lines[4]
    assert "On 40 test queries" in text
    assert (
        text.count(
            ", among 1,400 of 12,000 passages (answers, those that base, adapted model and BM25 rank"
        )
        == 2
    )
    worse, better = "-0.100 (-0.200 to +0.000)", "+0.081 (+0.020 to +0.150)"
    assert f"| BM25 | 0.500 | 0.400 | 0.300 | {worse} | {worse} | 0.0400 |" in lines
    assert "| base | 0.600 | 0.500 | 0.400 |  |  |  |" in lines
    assert f"| adapted | 0.700 | 0.581 | 0.500 | {better} | {better} | 0.0012 |" in lines
    assert "that people wrote (30 subjects and 12 questions with their replies)" in text
    assert "| base | 0.440 | 0.300 | 0.200 |  |  |  |" in lines
    assert "| 0.5 | 0.420 | 0.320 |" in lines
    assert "95% interval" in text
    assert "| 0.5 | 0.700 | 0.600 |" in lines
    assert "| need | 20 | 0.600 | 0.700 | +0.100 (+0.000 to +0.200) |" in lines
    assert "| passages sampled, from held-out threads | 50 |" in lines
    assert "0.877 on 150 known positives" in text
    assert "the hardest candidates the area is 0.741 (at least 0.67 is required)" in text
    assert "of these it calls 30% relevant" in text
    assert "true positive rate is 0.81" in text
    assert "false positive rate 0.12" in text
    assert (
        "Of 80 candidates for hard negatives, 60 score below -0.90 and are kept, 11 are ambiguous "
        "and dropped, 9 score from +1.25 on and are masked." in text
    )
    assert "| rejected: copies a span | 17 |" in lines
    assert "| tokens computed | 3000 |" in lines
    assert "## Skipped" not in text


def test_a_judge_that_was_not_believed_and_no_judge_at_all(tmp_path: Path) -> None:
    unbelieved = {**MINED, "calibration": {**MINED["calibration"], "auc": 0.55, "used": False}}
    with Workspace(tmp_path) as workspace:
        finish(workspace, "mine", unbelieved)
        text = report_text(read_run(workspace, Settings()))
        assert "0.550" in text
        assert "too low to be trusted: the 80 candidates were not judged" in text
        finish(workspace, "mine", {"candidates": 0, "calibration": None})
        assert "No hard negatives were mined." in report_text(read_run(workspace, Settings()))


def test_the_base_ships_without_test_queries(tmp_path: Path) -> None:
    evaluated = {
        "queries": 0, "threads": 0, "weight": 0.0, "reason": "There were no dev queries.", "missing": [],
        "pool": {"dev": 90, "test": 90, "passages": 90},
        "table": [row("base", None, None, None)], "dev": [], "self_supervised": {"styles": {}, "dev": [], "table": []},
    }  # fmt: skip
    with Workspace(tmp_path) as workspace:
        finish(workspace, "evaluate", evaluated)
        text = report_text(read_run(workspace, Settings()))
    assert "Ships: the base model. There were no dev queries." in text
    assert (
        "On 0 test queries that the LLM wrote, about 0 threads that were never trained on:" in text
    )
    assert "- There were no dev queries." in text.splitlines()
    assert "| base |  |  |  |  |  |  |" in text


def cells(line: str) -> list[str]:
    """How a Markdown reader cuts a table's line: a backslash takes the next character with it."""
    found, at = [""], 0
    while at < len(line):
        if line[at] == "\\":
            found[-1] += line[at + 1]
            at += 1
        elif line[at] == "|":
            found.append("")
        else:
            found[-1] += line[at]
        at += 1
    return [cell.strip() for cell in found[1:-1]]


@pytest.mark.parametrize(
    "text", ["a | b", "a \\| b", "a \\", "\\\\|", "<1234@host>", "<!-- x", "`code", "||"]
)
def test_no_text_breaks_out_of_its_cell(tmp_path: Path, text: str) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.database.execute("INSERT INTO skipped VALUES ('in.mbox', ?, 'no text')", (text,))
        lines = report_text(read_run(workspace, Settings())).splitlines()
    (line,) = [line for line in lines if line.startswith("| in.mbox")]
    assert cells(line) == ["in.mbox", text, "no text"]
    assert "| <" not in line, "nothing is taken for a tag"


def test_searches_before_and_after_stay_in_their_tables() -> None:
    query = "# a | `b` <i>c"
    lines = report_text(run_of(query)).splitlines()
    at = lines.index("Query: # a \\| \\`b\\` \\<i>c")
    assert cells(lines[at + 2]) == ["base: answer at rank 40", "adapted: answer at rank 1"]
    assert cells(lines[at + 4]) == ["Re: new coffee machine", "**Re: new coffee machine**"]
    assert cells(lines[at + 5]) == [query, query]


def test_every_skipped_message_is_listed(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        for number in range(30):
            workspace.database.execute(
                "INSERT INTO skipped VALUES ('in.mbox', ?, 'line one\nline two')", (f"m{number}",)
            )
        text = report_text(read_run(workspace, Settings()))
    for number in range(30):
        assert f"| in.mbox | m{number} | line one line two |" in text.splitlines()


def test_samples_stay_in_their_cells(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        finish(workspace, "generate", GENERATED)
        lines = report_text(read_run(workspace, Settings())).splitlines()
    (sample,) = [line for line in lines if line.startswith("| need |")]
    assert cells(sample) == ["need", "pipes | and `ticks` and <b>lines</b>"]


def test_times_are_in_the_order_of_the_stages_and_summed(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        for name in ("ingest", "other"):
            finish(workspace, name, {})
        workspace.begin_stage("unfinished", "print")
        workspace.database.execute("UPDATE stage SET seconds = 2.25 WHERE name = 'ingest'")
        workspace.database.execute("UPDATE stage SET seconds = 1.0 WHERE name = 'other'")
        text = report_text(read_run(workspace, Settings()))
    assert "| ingest | 2.2 |\n| other | 1.0 |\n| all | 3.2 |" in text


def test_an_empty_workspace_has_a_report(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        assert report_text(read_run(workspace, Settings())).startswith("# CustomIR report")


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.3]) == sparkline([7.0]) == BLOCKS[0]
    assert sparkline([1, 1, 1]) == BLOCKS[0] * 3
    assert sparkline(range(8)) == BLOCKS
    assert sparkline([7, 0]) == BLOCKS[-1] + BLOCKS[0]
    for length in (39, 40, 41, 100, 4001):
        curve = sparkline([float(-n) for n in range(length)])
        assert CURVE_POINTS / 2 < len(curve) <= CURVE_POINTS
        assert curve == "".join(sorted(curve, reverse=True))


@pytest.mark.slow
def test_without_texts_nothing_of_the_corpus_is_in_it(tmp_path: Path) -> None:
    from customir.report.page import page_text

    word = "quokkaword"
    run = run_of(word, tmp_path / "zelda")
    # These are the gate's words and the names of styles; the sample has the text there, too.
    run.evaluate.update(reason="It is better.", by_style=[])
    for render in (report_text, page_text):
        assert word in render(run)
        text = render(run.without_texts())
        assert word not in text
        assert "zelda" not in text
        assert "/mail/" not in text
        for kept in ("Recall@10", "threads", "hard negatives"):
            assert kept in text


def test_the_membership_test_is_in_both_reports(tmp_path: Path) -> None:
    from customir.report.page import page_text

    run = run_of("text", tmp_path)
    found = {
        "trained": 400,
        "held_out": 300,
        "auc": 0.561,
        "low": 0.52,
        "high": 0.6,
        "base_auc": 0.5,
    }
    run.evaluate["membership"] = found
    for render in (report_text, page_text):
        text = " ".join(render(run).split())
        assert "0.56 (0.52 to 0.60) on 400 trained and 300 held-out pairs" in text
        run.evaluate["membership"] = None
        assert "0.5 is chance" not in render(run)
        run.evaluate["membership"] = found


def test_the_senders_that_the_model_learns_most_from_are_named(tmp_path: Path) -> None:
    from customir.report.page import page_text

    run = run_of("Bert", tmp_path)
    assert "Of 1700 training pairs, most are from Bert (400) and Ann" in report_text(run)
    assert "most are from Bert (400) and Ann &lt;ann@example.org&gt; (30)." in page_text(run)
