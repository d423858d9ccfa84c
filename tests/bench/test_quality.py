"""bench/quality.py on a small set: judged queries are read last, and arms share what an LLM wrote."""

import json
import mailbox
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mail import write_mailbox

from customir.files import sha256_of

SCRIPT = Path(__file__).parents[2] / "bench" / "quality.py"
SETTINGS = (
    "llm=smollm2-135m", "device=cpu", "threads=1", "queries.passages=20",
    "queries.queries_per_passage=1", "queries.max_tokens=12", "negatives.candidates_per_query=0",
    "training.batch_size=8", "training.epochs=1", 'evaluation.reference_model=""', "evaluation.resamples=1000",
)  # fmt: skip


def quality(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return subprocess.run(
        [
            sys.executable, str(SCRIPT), "--data", str(data), "--sets", "small", "--out", str(out),
            "--until", "train", *settings, *more,
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def rows(arm: Path, statement: str) -> list[tuple[str | int, ...]]:
    with closing(sqlite3.connect(f"file:{arm / 'workspace.db'}?mode=ro", uri=True)) as database:
        return database.execute(statement).fetchall()


def adapter_of(arm: Path) -> str:
    return sha256_of(arm / "training" / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set that has a corpus, and as yet no queries and no qrels."""
    folder = tmp_path_factory.mktemp("data")
    lines = [
        {
            "_id": str(number),
            "title": message["Subject"],
            "text": message.get_payload(),
            "thread": message.get("In-Reply-To", message["Message-ID"]),
        }
        for number, message in enumerate(mailbox.mbox(write_mailbox(folder / "mail.mbox")))
    ]
    (folder / "small").mkdir()
    (folder / "small" / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_judged_queries_are_read_last_and_never_trained_on(
    data: Path, tmp_path: Path, minilm: Path, smollm: Path
) -> None:
    out = tmp_path / "out"
    first = quality(data, out)
    assert first.returncode != 0
    assert "queries.jsonl: no such file" in first.stderr
    arm = out / "small" / "default"
    finished = rows(arm, "SELECT name FROM stage WHERE finished = 1")
    assert finished == [("ingest",), ("generate",), ("mine",), ("train",)]
    made = adapter_of(arm)

    # One of the queries that come now is in other letters what was trained on.
    (trained,) = rows(
        arm, "SELECT text FROM query WHERE split = 'train' AND style = 'subject' LIMIT 1"
    )
    queries = {"own": str(trained[0]).upper() + " !", "a": "coffee broken", "b": "bike parking"}
    qrels = "query-id\tcorpus-id\tscore\nown\t0\t1\na\t0\t1\nb\t60\t1\n"
    (data / "small" / "qrels").mkdir()
    (data / "small" / "qrels" / "test.tsv").write_text(qrels)
    (data / "small" / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": key, "text": text}) for key, text in queries.items())
    )
    second = quality(data, out)
    assert second.returncode == 0, second.stderr
    assert adapter_of(arm) == made
    (measured,) = json.loads((arm / "measured.json").read_text())
    assert measured["query_keys"] == ["a", "b"]
    assert "left out 1 queries that were trained on" in second.stdout
    systems = [row["system"] for row in measured["table"]]
    assert systems[:3] == ["BM25", "base", "adapted"]
    claims = json.loads(second.stdout.splitlines()[-1])["claims"]
    assert [claim["peer"] for claim in claims] == ["base", "BM25"]

    third = quality(
        data, out, "--arm", "hot", "--against", "default",
        "--set", "training.learning_rate=0.01", "--set", "training.temperature=0.02",
    )  # fmt: skip
    assert third.returncode == 0, third.stderr
    assert "against default: Recall@10" in third.stdout
    hot = out / "small" / "hot"
    assert adapter_of(hot) != made
    computed = "SELECT sum(computed) FROM work WHERE stage IN ('generate', 'mine')"
    assert rows(arm, computed) > [(0,)]
    assert rows(hot, computed) == [(0,)], "what the other arm wrote and embedded is taken from it"
    query = "SELECT key, text, split FROM query ORDER BY key"
    assert rows(hot, query) == rows(arm, query)
