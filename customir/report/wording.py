"""Sentences and figures about a run, for the report and the closing output of `customir adapt`."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from customir.evaluation.metrics import DEPTH, METRICS
from customir.evaluation.significance import Difference
from customir.evaluation.systems import ADAPTED, BASE
from customir.report.run import Run, StageSummary

# The metrics whose differences from the base the tables show.
COMPARED = ("Recall@10", "nDCG@10")
SHOWN_EXAMPLES = 3
# Where `customir serve DIR` listens by default.
SEARCH_PAGE = "http://127.0.0.1:8080/"
# The noun for the queries of each self-supervised style, singular and plural.
STYLE_NOUNS = {
    "subject": ("subject", "subjects"),
    "reply": ("question with its reply", "questions with their replies"),
    "ict": ("first sentence", "first sentences"),
}

Figures = Mapping[str, Any]
"""What is counted or measured, by what it is called."""


def headline(evaluated: StageSummary) -> str:
    """What changed for the user, in one sentence."""
    if not evaluated["weight"]:
        return "The original model stays, because no better one was found."
    rows = {row["system"]: row for row in deciding_table(evaluated)}
    before, after = (round(100 * rows[system]["Recall@10"]) for system in (BASE, ADAPTED))
    if after > before:
        return (
            f"The right passage is now among the first ten hits for {after} of 100 queries. "
            f"With the original model it was for {before}."
        )
    before, after = (rows[system]["nDCG@10"] for system in (BASE, ADAPTED))
    return f"The right passages now rank higher: nDCG@10 rose from {before:.3f} to {after:.3f}."


def deciding_table(evaluated: StageSummary) -> list[StageSummary]:
    """The table on the queries that decide: those that people wrote, if there are enough."""
    table: list[StageSummary] = evaluated["self_supervised"]["table"] or evaluated["table"]
    return table


def verdict_line(evaluated: StageSummary) -> str:
    """Which model ships, and why, with the figures."""
    what = "the base model"
    if weight := evaluated["weight"]:
        what = f"the adapted model, with interpolation weight {weight:g}"
    return f"Ships: {what}. {evaluated['reason']}"


def reasons(evaluated: StageSummary) -> list[str]:
    """The reasons why the base ships, one sentence each; empty if the adapted model ships."""
    if evaluated["weight"]:
        return []
    return list(evaluated["missing"]) or [evaluated["reason"]]


def learned_from(run: Run) -> str:
    """A sentence about the training queries."""
    queries = _counted(run.training_queries)
    if not run.train.get("adapter"):
        return f"There was too little to learn from: {queries or 'no queries'}."
    return f"The adapter learned from {queries}."


def negatives_line(run: Run) -> str:
    """A sentence about the hard negatives that the adapter was trained with."""
    count = run.train.get("negatives", 0)
    if not count:
        return "No hard negatives were used, only the other passages of each batch."
    calibration = run.mine.get("calibration")
    judged = ", which the LLM had judged" if calibration and calibration["used"] else ", not judged"
    return f"It was contrasted with {count} hard negatives{judged}."


def _counted(styles: Mapping[str, int]) -> str:
    """The counts of queries by style, as part of a sentence."""
    counts = [
        f"{count} {STYLE_NOUNS[style][count != 1]}"
        for style, count in styles.items()
        if style in STYLE_NOUNS
    ]
    written = sum(count for style, count in styles.items() if style not in STYLE_NOUNS)
    if written:
        counts.append(f"{written} {'query' if written == 1 else 'queries'} that the LLM wrote")
    return _listed(counts)


def tested_on(evaluated: StageSummary) -> str:
    """A sentence about the test queries."""
    people = sum(evaluated["self_supervised"]["styles"].values())
    counts = [f"{people} queries that people wrote"] if people else []
    counts.append(f"{evaluated['queries']} {'' if people else 'queries '}that the LLM wrote")
    return f"The test was on {_listed(counts)}, about threads that were not trained on."


def pairs_line(evaluated: StageSummary) -> str:
    """The introduction of the table on self-supervised queries."""
    queries = _counted(evaluated["self_supervised"]["styles"])
    return (
        f"On test queries that people wrote ({queries}): each searches for its own passage without the "
        f"part that the query was taken from, and without the rest of its thread{among(evaluated)}"
    )


def written_line(evaluated: StageSummary) -> str:
    """The introduction of the table on the LLM's queries."""
    return (
        f"On {evaluated['queries']} test queries that the LLM wrote, about {evaluated['threads']} "
        f"threads that were never trained on{among(evaluated)}"
    )


def among(evaluated: StageSummary) -> str:
    """The part of the corpus that the test searched; empty if that was the whole corpus."""
    pool = evaluated["pool"]
    if pool["test"] == pool["passages"]:
        return ""
    return (
        f", among {pool['test']:,} of {pool['passages']:,} passages (answers, those that "
        "base, adapted model and BM25 rank highest, and a random draw)"
    )


def membership_line(evaluated: StageSummary) -> str:
    """A sentence about the membership test; empty if it was not made, because the base ships."""
    found = evaluated.get("membership")
    if not found:
        return ""
    return (
        "Whoever has a query and its passage, the base and this model can guess whether the model was "
        f"trained on them: the area under the ROC curve is {found['auc']:.2f} ({found['low']:.2f} to "
        f"{found['high']:.2f}) on {found['trained']} trained and {found['held_out']} held-out pairs. "
        f"0.5 is chance, and the base by itself gives {found['base_auc']:.2f}. The threat model in the "
        "documentation says what to do about it."
    )


def movement_line(movement: StageSummary) -> str:
    """A sentence about how many answers rose and fell."""
    rose, same, fell = (movement[name] for name in ("rose", "same", "fell"))
    return (
        f"Of {rose + same + fell} held-out queries that the LLM wrote, the answer rose for {rose}, "
        f"fell for {fell} and kept its rank for {same}."
    )


def shown_examples(movement: StageSummary) -> list[StageSummary]:
    """The examples to show: the largest gains, the largest loss if any, then unmoved ones."""
    won, lost = movement["won"], movement["lost"][:1]
    chosen = [*won[: SHOWN_EXAMPLES - len(lost)], *lost]
    return [*chosen, *movement["unmoved"][: SHOWN_EXAMPLES - len(chosen)]]


def change_of(example: StageSummary) -> str:
    """Whether an example's answer ranks better, worse or the same as before."""
    before, after = (example[name] or DEPTH + 1 for name in ("rank_before", "rank_after"))
    return "better" if after < before else "worse" if after > before else "same rank"


def rank_text(rank: int | None) -> str:
    """The rank of an answer, in words."""
    return f"answer at rank {rank}" if rank else f"answer not in the top {DEPTH}"


def search_link(query: str) -> str:
    """The address of the search page with the hits of a query."""
    return f"{SEARCH_PAGE}?{urlencode({'q': query})}"


def comparison_rows(rows: Sequence[StageSummary], confidence: float) -> list[list[str]]:
    """The table of systems, with a header: metrics, and differences from the base.

    Args:
        rows: Rows as returned by `SystemResult.as_row`.
    """
    interval = f"against base ({round(100 * confidence)}% interval)"
    table = [["", *METRICS, *(f"{name} {interval}" for name in COMPARED), f"p ({COMPARED[-1]})"]]
    for row in rows:
        found = [difference_of(row, name) for name in COMPARED]
        table.append(
            [
                row["system"],
                *(three_digits(row[name]) for name in METRICS),
                *(difference_text(difference) if difference else "" for difference in found),
                f"{found[-1].p:.4f}" if found[-1] else "",
            ]
        )
    return table


def difference_of(row: StageSummary, metric: str) -> Difference | None:
    """A system's difference from the base; None for the base itself."""
    found = row.get(f"{metric} difference")
    return Difference(*found) if found else None


def significance(difference: Difference) -> str:
    """Whether a system is significantly better or worse than the base, or neither."""
    if difference.significantly_better:
        return "better"
    return "worse" if difference.significantly_worse else "unsure"


def difference_text(difference: Difference) -> str:
    """A difference with its interval."""
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def three_digits(value: float | None) -> str:
    """A metric with three decimals; empty if there is no value."""
    return "" if value is None else f"{value:.3f}"


def chosen_by(evaluated: StageSummary) -> list[tuple[str, list[StageSummary]]]:
    """The dev metrics by interpolation weight, for each kind of query."""
    found = [
        ("the LLM's dev queries", evaluated["dev"]),
        ("people's dev queries, which choose the weight", evaluated["self_supervised"]["dev"]),
    ]
    return [(title, rows) for title, rows in found if len(rows) > 1]


def corpus_figures(read: StageSummary) -> Figures:
    """The figures of the corpus: what was read, kept, skipped and cut, and how the base reads it."""
    reading = read["base_reading"]
    return {
        "read": read["read"],
        "kept": read["kept"],
        "skipped": read["skipped"],
        "new since the last run": read["new"],
        "changed since then": read["changed"],
        "removed since then": read["removed"],
        "characters in the kept documents": read["characters"],
        **{f"characters cut: {cause}": count for cause, count in read["cut"].items()},
        "threads": read["threads"],
        "passages": read["passages"],
        "near-duplicate groups": read["duplicate_groups"],
        "passages in these groups": read["duplicate_passages"],
        "of these, passages that a longer one contains": read["contained_passages"],
        "languages": _shares(reading["languages"]),
        "tokens that the base does not know": f"{reading['unknown']:.1%}",
        "characters per token of the base": f"{reading['characters']:.1f}",
        "passages that the base cannot read": f"{reading['unreadable']:.0%}",
        **({"advice": reading["advice"]} if reading["advice"] else {}),
    }


def query_figures(generated: StageSummary) -> Figures:
    """The figures of the LLM's queries: how many were written, rejected and kept."""
    sampled = "passages sampled"
    if generated["held_out_only"]:
        sampled = "passages sampled, from held-out threads"
    return {
        sampled: generated["sampled_passages"],
        "queries written": generated["written"],
        **{
            f"passages in {row['language']}, examples: {row['examples']}": (
                f"{row['passages']} ({row['kept']} of {row['written']} queries kept, "
                f"{row['wrong_language']} in another language)"
            )
            for row in generated["languages"]
        },
        **{f"rejected: {reason}": n for reason, n in sorted(generated["rejected"].items())},
        **{f"kept: {style}": n for style, n in sorted(generated["kept_by_style"].items())},
        **{f"for {split}": n for split, n in sorted(generated["kept_by_split"].items())},
        "tokens submitted": generated["tokens"]["submitted"],
        "tokens computed": generated["tokens"]["computed"],
    }


def senders_line(generated: StageSummary) -> str:
    """A sentence about the senders that the adapter learns most from; empty if none is known."""
    senders = generated.get("senders")
    if not senders:
        return ""
    pairs = generated["kept_by_split"].get("train", 0)
    named = _listed([f"{sender} ({count})" for sender, count in senders])
    return f"Of {pairs} training pairs, most are from {named}."


def training_figures(trained: StageSummary) -> Figures:
    """The figures of training: pairs, hard negatives, steps and padding."""
    return {
        "pairs": trained["examples"],
        "hard negatives": trained["negatives"],
        "steps": trained["steps"],
        "padding": f"{100 * trained['padding']:.1f}%",
    }


def _shares(shares: Mapping[str, float]) -> str:
    """The languages of at least 1% of the passages, with their shares."""
    return ", ".join(
        f"{code or 'unknown'} {share:.0%}" for code, share in shares.items() if share >= 0.01
    )


def _listed(parts: Sequence[str]) -> str:
    """Join parts as in a sentence: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), *parts[-1:]] if len(parts) > 1 else parts)
