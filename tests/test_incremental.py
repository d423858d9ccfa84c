"""New mail in an adapted folder: only what is new is written and judged."""

import mailbox
from dataclasses import dataclass
from pathlib import Path

from mail import write_mailbox

from customir.job import Job
from customir.pipeline import STAGE, run_stage
from customir.progress import Silent
from customir.settings import EvaluationSettings, NegativeSettings, QuerySettings, Settings
from customir.workspace import Workspace
from customir.workspace.queries import SELF_SUPERVISED_STYLES

WRITTEN, JUDGED = "query", "judgment"


@dataclass(frozen=True)
class Found:
    """What a workspace holds after a run, and how many units that run computed, by kind."""

    passages: set[str]
    queries: dict[str, str]
    pairs: set[tuple[str, str]]
    computed: dict[str, int]


def part(path: Path, box: mailbox.mbox, threads: range) -> Path:
    """The threads of `box` with these numbers, three messages each, as a mailbox of their own."""
    own = mailbox.mbox(path)
    for number, message in enumerate(box):
        if number // 3 in threads:
            own.add(message)
    own.close()
    return path


def run(folder: Path, *sources: Path) -> Found:
    settings = Settings(
        sources=tuple(map(str, sources)), llm="smollm2-135m", device="cpu", threads=1,
        queries=QuerySettings(passages=100, queries_per_passage=1, max_tokens=10),
        negatives=NegativeSettings(candidates_per_query=2, min_judge_auc=0.5, relative_margin=0.0),
        evaluation=EvaluationSettings(held_out_fraction=0.3),
    )  # fmt: skip
    with Workspace(folder) as workspace:
        database = workspace.database

        def count(kind: str) -> int:
            (number,) = database.execute(
                "SELECT count(*) FROM result WHERE kind = ?", (kind,)
            ).fetchone()
            return int(number)

        before = {kind: count(kind) for kind in (WRITTEN, JUDGED)}
        for name in ("ingest", "generate", "mine"):
            run_stage(STAGE[name], Job(workspace, settings, Silent()))
        return Found(
            {key for (key,) in database.execute("SELECT key FROM passage")},
            {
                key: passage
                for key, passage, style in database.execute("SELECT key, passage, style FROM query")
                if style not in SELF_SUPERVISED_STYLES
            },
            set(database.execute("SELECT query, passage FROM negative WHERE score NOT NULL")),
            {kind: count(kind) - earlier for kind, earlier in before.items()},
        )


def test_only_what_is_new_is_written_and_judged(tmp_path: Path, minilm: Path, smollm: Path) -> None:
    box = mailbox.mbox(write_mailbox(tmp_path / "all.mbox", 16))
    old = part(tmp_path / "old.mbox", box, range(14))
    new = part(tmp_path / "new.mbox", box, range(14, 16))
    first = run(tmp_path / "out", old)
    second = run(tmp_path / "out", old, new)
    assert first.passages < second.passages
    added = second.passages - first.passages
    # Of a near-duplicate group only one passage is asked about, and that may be a new one now.
    assert len(first.queries.keys() - second.queries.keys()) <= 3
    fresh = {key: passage for key, passage in second.queries.items() if key not in first.queries}
    assert set(fresh.values()) <= added
    assert second.computed[WRITTEN] == len(fresh)

    again = second.pairs - first.pairs
    assert again, "new mail is judged"
    # New passages move the hard candidates of old queries a little: BM25 weighs words by the corpus.
    moved = [pair for pair in again if pair[0] not in fresh and pair[1] not in added]
    assert len(moved) <= 0.15 * len(second.pairs), f"{len(moved)} of {len(second.pairs)}"
    # The judge is tried on a new query's own passage, on a random one and on its hardest
    # candidate; an old query's random passage changes where a new one took its place.
    assert 0 < second.computed[JUDGED] <= len(again) + 3 * len(fresh) + len(added)
    assert second.computed[JUDGED] < first.computed[JUDGED] / 2

    third = run(tmp_path / "out", old, new)
    assert third.computed == {WRITTEN: 0, JUDGED: 0}
    assert third.pairs == second.pairs
