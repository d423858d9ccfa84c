"""Do answers with hardly any text of their own come first when a thread's subject is asked for?

Every answer carries its thread's subject. Each DIR, which `customir index` made of mail, is asked for
the subjects of its threads, and for the whole text of its thin passages; variants of what counts as
thin are written to a copy of the index and searched by `Searcher`. Of the judged sets below --data
it is counted how many passages are marked as thin: where none is, no ranking changes.

    python demo/fetch_mail.py mail.mbox --messages 2500 && customir index mail.mbox --out mail
    python bench/thin.py mail --data DATA
    python bench/thin.py mail --quick
"""

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.evaluation.metrics import by_query
from customir.evaluation.significance import Difference, paired_difference
from customir.queries.subjects import bare_title
from customir.report.markdown import difference_text
from customir.runtime import generations
from customir.runtime.hits import Hit
from customir.runtime.index import IndexedPassage
from customir.runtime.index_file import connect, live_generation
from customir.runtime.search import Searcher
from customir.runtime.thin import FEWEST_WORDS, mark_thin
from customir.text.tokenize import length_of, words_of

SETS = (
    "aeslc-enron", "rsig-qa", "rhelp-2025-qa", "spamassassin-ham-qa", "spamassassin-ham-subject",
    "slack-dev-chat", "ubuntu-irc-conv",
)  # fmt: skip
NOW, SHIPPED = "every subject counts", "not of thin passages (shipped)"
QUICK_QUERIES, DEPTH = 150, 30
CONFIDENCE, RESAMPLES, SEED = 0.95, 5000, 0


@dataclass(frozen=True)
class Queries:
    """Queries with their answers, and the threads that these belong to.

    Attributes:
        qrels: Grades by query and document.
        threads: The wanted thread of each query.
    """

    name: str
    texts: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    threads: Mapping[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="made by customir index"
    )
    parser.add_argument("--data", type=Path, help="the folder of the judged sets")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_QUERIES} subjects of each DIR"
    )
    options = parser.parse_args()
    claims = [claim for folder in options.folders for claim in measure(folder, options.quick)]
    for name in SETS:
        if options.data and (options.data / name).is_dir():
            passages = list(judged_passages(options.data / name))
            marked = sum(passage.thin for passage in mark_thin(passages))
            print(f"{name}: {marked} of {len(passages)} passages are marked as thin")
    print(json.dumps({"bench": "thin", "claims": claims}))


def measure(folder: Path, quick: bool) -> Iterator[dict[str, object]]:
    """Print the tables of one DIR; the share of thin first hits as claims."""
    passages = read_passages(folder)
    share = np.mean([is_short(passage.text) for passage in passages])
    print(f"\n{folder}: {len(passages)} passages, {share:.1%} with fewer than {FEWEST_WORDS} words")
    for queries in (subject_queries(passages), own_words_queries(passages)):
        asked = list(queries.texts)[: QUICK_QUERIES if quick else None]
        results = {
            name: evaluate(queries, asked, passages, found)
            for name, found in rankings(folder, passages, [queries.texts[key] for key in asked])
        }
        clusters = [queries.threads[key] for key in asked]
        print(f"\n{queries.name}, {len(asked)} queries; differences to the first row:")
        for name, values in results.items():
            cells = [
                f"{metric} {100 * np.mean(value):.1f}"
                + (f" ({difference_text(compared(value, results[NOW][metric], clusters))})" if name != NOW else "")
                for metric, value in values.items()
            ]  # fmt: skip
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        thin = {name: float(np.mean(values["thin first"])) for name, values in results.items()}
        yield {
            "name": f"thin first hits, {queries.name}", "ours": thin[SHIPPED], "peer": NOW,
            "peer_figure": thin[NOW], "ratio": thin[SHIPPED] / thin[NOW] if thin[NOW] else None,
            "measured": f"{folder.name}, {len(asked)} queries; of its passages {share:.4f} are thin",
        }  # fmt: skip


def rankings(
    folder: Path, passages: Sequence[IndexedPassage], texts: Sequence[str]
) -> Iterator[tuple[str, list[list[Hit]]]]:
    """The hits of each query, by each variant of what is marked as thin."""
    marked = mark_thin(passages)
    starts: dict[str, str] = {}
    for passage in sorted(passages, key=lambda one: (one.date or "", one.document)):
        starts.setdefault(passage.thread, passage.document)
    variants = {
        NOW: set[str](),
        SHIPPED: {passage.key for passage in marked if passage.thin},
        "of first messages alone": {p.key for p in passages if starts[p.thread] != p.document},
        "not of short passages": {p.key for p in passages if is_short(p.text)},
    }
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "copy"
        shutil.copytree(folder, copy, symlinks=True)
        for name, thin in variants.items():
            mark(copy, thin)
            found = search_all(copy, texts)
            yield name, found
            if name == SHIPPED:
                yield "the same, one hit per thread", search_all(copy, texts, by_thread=True)
                yield (
                    "the same, plus 0.1 of the thread's second",
                    [by_second(hits) for hits in found],
                )


def search_all(folder: Path, texts: Sequence[str], by_thread: bool = False) -> list[list[Hit]]:
    """The hits of each query."""
    with Searcher(folder) as searcher:
        return [searcher.search(text, DEPTH, by_thread=by_thread) for text in texts]


def mark(folder: Path, thin: set[str]) -> None:
    """Make these passages of an index, and no others, the thin ones."""
    database = connect(generations.current(folder) / generations.INDEX_NAME, write=True)
    generation = live_generation(database)
    assert generation is not None
    database.execute(
        f"UPDATE passage_{generation.number} SET thin = key IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(thin)),),
    )
    database.close()


def by_second(hits: Sequence[Hit]) -> list[Hit]:
    """Hits ranked by their score and a tenth of the second best score in their thread."""
    scores = defaultdict(list)
    for hit in hits:
        scores[hit.thread].append(hit.score)
    second = {thread: (*found, 0.0)[1] for thread, found in scores.items()}
    return sorted(hits, key=lambda hit: -(hit.score + 0.1 * second[hit.thread]))


def evaluate(
    queries: Queries, asked: Sequence[str], passages: Sequence[IndexedPassage],
    found: Sequence[Sequence[Hit]],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Each metric of each query, 0 to 1."""
    rows = {key: row for row, key in enumerate(dict.fromkeys(p.document for p in passages))}
    ranked = [np.array([rows[hit.document] for hit in hits], dtype=np.int64) for hits in found]
    values = by_query(queries.qrels, asked, list(rows), ranked)
    texts = {passage.key: passage.text for passage in passages}

    def share(holds: Callable[[str, Sequence[Hit]], bool]) -> np.ndarray:
        return np.array([float(holds(*pair)) for pair in zip(asked, found, strict=True)])

    def success(depth: int) -> np.ndarray:
        """Whether a message of the wanted thread is among the first `depth` hits."""
        return share(
            lambda key, hits: any(hit.thread == queries.threads[key] for hit in hits[:depth])
        )

    return {
        "Recall@10": values["Recall@10"],
        "nDCG@10": values["nDCG@10"],
        "Success@1": success(1),
        "Success@3": success(3),
        "thin first": share(lambda _, hits: bool(hits) and is_short(texts[hits[0].key])),
    }


def compared(values: np.ndarray, base: np.ndarray, clusters: Sequence[str]) -> Difference:
    return paired_difference(values, base, clusters, CONFIDENCE, RESAMPLES, SEED)


def subject_queries(passages: Sequence[IndexedPassage]) -> Queries:
    """The subject of each thread's first message: grade 2 for that message, 1 for the others."""
    threads = defaultdict(list)
    for passage in sorted(passages, key=lambda one: (one.date or "", one.document)):
        threads[passage.thread].append(passage)
    texts = {thread: bare_title(members[0].title) for thread, members in sorted(threads.items())}
    texts = {thread: text for thread, text in texts.items() if length_of(words_of(text)) >= 2}
    return Queries(
        "subjects of threads",
        texts,
        {
            thread: {p.document: 2 if p.document == threads[thread][0].document else 1 for p in threads[thread]}
            for thread in texts
        },
        {thread: thread for thread in texts},
    )  # fmt: skip


def own_words_queries(passages: Sequence[IndexedPassage]) -> Queries:
    """The text of each passage that is marked as thin and has three words or more."""
    thin = {
        passage.text: passage
        for passage in mark_thin(passages)
        if passage.thin and length_of(words_of(passage.text)) >= 3
    }
    keys = {passage.key: passage for passage in thin.values()}
    return Queries(
        "texts of thin passages",
        {key: passage.text for key, passage in keys.items()},
        {key: {passage.document: 1} for key, passage in keys.items()},
        {key: passage.thread for key, passage in keys.items()},
    )


def is_short(text: str) -> bool:
    return length_of(words_of(text)) < FEWEST_WORDS


def read_passages(folder: Path) -> list[IndexedPassage]:
    """The passages of an index, by key."""
    database = connect(generations.current(folder) / generations.INDEX_NAME)
    generation = live_generation(database)
    assert generation is not None
    rows = database.execute(f"SELECT * FROM passage_{generation.number} ORDER BY key").fetchall()
    database.close()
    return [IndexedPassage(*row[1:]) for row in rows]


def judged_passages(folder: Path) -> Iterator[IndexedPassage]:
    """The passages of a judged set; all messages of a thread have one subject."""
    with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            key, thread = row["_id"], row.get("thread") or row["_id"]
            yield IndexedPassage(
                key,
                key,
                key,
                folder.name,
                row.get("subject") or "",
                "",
                None,
                thread,
                key,
                row["text"],
            )


if __name__ == "__main__":
    main()
