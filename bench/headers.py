"""Which fields to put above a passage for embedding (`corpus.passage_header`), measured by retrieval.

Prints MiniLM's nDCG@10 and Recall@10 on mail in BEIR's layout whose rows also have `subject`, and `date` or
a sender's name. The first 1,200 documents of each set are used.

    python bench/headers.py data/aeslc-enron
    python bench/headers.py --quick
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from customir import models
from customir.corpus.passages import header_of
from customir.encoder.torch_encoder import Encoder
from customir.evaluation.beir import read_beir
from customir.evaluation.metrics import by_query
from customir.retrieval.dense import top_k
from customir.workspace.passages import DocumentToSplit

DOCUMENTS, QUICK_DOCUMENTS = 1200, 400
CHOICES = ((), ("title",), ("title", "sender"), ("title", "sender", "date"), ("sender", "date"))
SENDERS = ("sender", "from", "author", "custodian")


def header(row: dict[str, str], fields: tuple[str, ...]) -> str:
    """The header of a document, as `customir ingest` makes it."""
    title = row.get("subject") or row.get("title") or ""
    sender = next((row[name] for name in SENDERS if row.get(name)), "")
    text = header_of(
        fields, DocumentToSplit("", "", title, sender, row.get("date"), "", is_mail=False)
    )
    return title if text is None else text


def main() -> None:
    """Measure every choice of fields, and print a table and one line of JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "sets", nargs="*", type=Path, default=[Path("data/aeslc-enron")], help="BEIR folders"
    )
    arguments.add_argument("--quick", action="store_true", help="fewer documents")
    options = arguments.parse_args()
    encoder = Encoder.load(models.locate("minilm", "embedder"), "cpu", 128)
    claims = []
    for folder in options.sets:
        if not folder.is_dir():
            print(f"Skipped: {folder} does not exist.", file=sys.stderr)
            continue
        with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        rows = rows[: QUICK_DOCUMENTS if options.quick else DOCUMENTS]
        keys = [str(row["_id"]) for row in rows]
        known = set(keys)
        judged = read_beir(folder)
        qrels = {
            query: {key: grade for key, grade in grades.items() if key in known}
            for query, grades in judged.qrels.items()
        }
        queries_with_answers = [
            (key, text)
            for key, text in zip(judged.query_keys, judged.queries, strict=True)
            if any(qrels.get(key, {}).values())
        ]
        qrels = {key: qrels[key] for key, _ in queries_with_answers}
        queries = encoder.encode([text for _, text in queries_with_answers], "query")
        for fields in CHOICES:
            texts = ["\n".join(p for p in (header(row, fields), row["text"]) if p) for row in rows]
            rows_found, _ = top_k(queries, encoder.encode(texts, "passage"), 10)
            values = by_query(qrels, [key for key, _ in queries_with_answers], keys, rows_found)
            scores = {name: round(float(np.mean(each)), 3) for name, each in values.items()}
            shown = "+".join(fields) or "nothing"
            print(f"{folder.name:24} {shown:20} {scores}", flush=True)
            claims.append(
                {
                    "name": f"nDCG@10 with {shown} above the passage",
                    "ours": scores["nDCG@10"],
                    "peer": None,
                    "peer_figure": None,
                    "ratio": None,
                    "measured": f"{folder.name}, {len(rows)} documents, {len(queries)} queries",
                }
            )
    print(json.dumps({"bench": "headers", "claims": claims}))


if __name__ == "__main__":
    main()
