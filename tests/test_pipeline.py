"""The whole way on a small mailbox, with the real models: once through, and killed in each stage."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mail import PEOPLE, THINGS, write_mailbox
from safetensors.torch import load_file, save_file

from customir import models
from customir.commands.privacy import Content, list_contents
from customir.files import sha256_of
from customir.runtime import Searcher, generations
from customir.runtime.index import connect
from customir.workspace.queries import SELF_SUPERVISED_STYLES

STAGES = ("ingest", "generate", "mine", "train", "evaluate", "export", "index")
# Small enough for a test; of threads always as many, so that two runs add up in the same order.
SETTINGS = """
threads = 2
llm = "smollm2-135m"
[queries]
max_tokens = 16
[negatives]
candidates_per_query = 2
min_judge_auc = 0.5
[training]
batch_size = 8
epochs = 2
precision = "fp32"
[evaluation]
interpolation_weights = [1.0]
held_out_fraction = 0.4
"""


def command(mail: Path, out: Path, passages: int = 12) -> list[str]:
    out.mkdir(mode=0o700, exist_ok=True)
    if not (out / "customir.toml").exists():
        (out / "customir.toml").write_text(SETTINGS)
    return [
        sys.executable, "-m", "customir.cli", "adapt", str(mail), "--out", str(out),
        "--passages", str(passages), "--queries", "2", "--device", "cpu",
    ]  # fmt: skip


def adapt(mail: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(mail, out), capture_output=True, text=True, timeout=600)


def under_way(out: Path) -> str | None:
    """The stage that a running process is in."""
    try:
        with closing(sqlite3.connect(f"file:{out / 'workspace.db'}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM stage WHERE finished = 0").fetchall()
    except sqlite3.OperationalError:
        return None
    return rows[0][0] if rows else None


def rows(out: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{out / 'workspace.db'}?mode=ro", uri=True)) as database:
        return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mailbox(tmp_path_factory.mktemp("mail") / "mail.mbox")


@pytest.fixture(scope="module")
def done(
    mail: Path, tmp_path_factory: pytest.TempPathFactory, minilm: Path, smollm: Path
) -> tuple[Path, str]:
    """A run without interruption: DIR and what it printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    result = adapt(mail, out)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def test_it_closes_with_what_came_out_and_how_to_go_on(done: tuple[Path, str]) -> None:
    out, printed = done
    for expected in (
        "The original model stays, because no better one was found.",
        "The adapter learned from",
        "nDCG@10",
        "BM25",
        "base INT8",
        "(* is the passage that the query was written for)",
        "customir search",
        "customir serve",
        "report.html",
    ):
        assert expected in printed
    # Which of the two depends on the processor's last digits: dev may choose a weight or none.
    reasons = ("No interpolation weight beat the base", "the gate needs 25")
    assert any(reason in printed.replace("\n", " ") for reason in reasons), printed
    for name in ("model/onnx/model_qint8.onnx", "model/onnx/model.onnx", "index.db", "report.md"):
        assert (out / name).exists()


def test_what_is_read_is_indexed_or_listed(done: tuple[Path, str]) -> None:
    out, _ = done
    ((read,),) = rows(out, "SELECT json_extract(detail, '$.read') FROM stage WHERE name = 'ingest'")
    ((skipped,),) = rows(out, "SELECT count(*) FROM skipped")
    with closing(sqlite3.connect(f"file:{out / 'index.db'}?mode=ro", uri=True)) as index:
        (number,) = index.execute("SELECT max(number) FROM generation").fetchone()
        (indexed,) = index.execute(
            f"SELECT count(DISTINCT document) FROM passage_{number}"
        ).fetchone()
    assert read == 75 == indexed + skipped


def test_queries_have_five_styles_and_are_split_by_thread(
    mail: Path, done: tuple[Path, str]
) -> None:
    out, _ = done
    splits = rows(
        out,
        "SELECT thread, count(DISTINCT split) FROM query JOIN passage ON passage.key = passage "
        "JOIN document ON document.key = document GROUP BY thread",
    )
    assert splits
    assert all(count == 1 for _, count in splits)
    styles = {style for (style,) in rows(out, "SELECT DISTINCT style FROM query")}
    assert styles - SELF_SUPERVISED_STYLES == {
        "keywords",
        "question",
        "need",
        "summary",
        "attribute",
    }
    # No text here is long enough for an opening and a rest.
    assert styles & SELF_SUPERVISED_STYLES == {"subject", "reply"}


def test_the_judge_was_measured_and_the_report_shows_how(done: tuple[Path, str]) -> None:
    out, _ = done
    ((detail,),) = rows(out, "SELECT detail FROM stage WHERE name = 'mine'")
    mined = json.loads(str(detail))
    measured = mined["calibration"]
    false_rates, true_rates = zip(*measured["roc"], strict=True)
    assert (false_rates[0], true_rates[0], false_rates[-1], true_rates[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true_rates, false_rates) == pytest.approx(measured["auc"])
    assert [measured["false_positive_rate"], measured["true_positive_rate"]] in measured["roc"]
    assert measured["near_auc"] is not None
    assert sum(mined["verdicts"].values()) == mined["candidates"] > 0
    report = (out / "report.md").read_text()
    assert f"Area under the ROC curve {measured['auc']:.3f} on {measured['pairs']}" in report
    assert f"true positive rate is {measured['true_positive_rate']:.2f}" in report
    page = (out / "report.html").read_text()
    assert "ROC curve" in page
    assert f"{measured['near_auc']:.3f}" in page


def test_the_model_loads_in_sentence_transformers_and_gives_one_vector_everywhere(
    done: tuple[Path, str],
) -> None:
    from sentence_transformers import SentenceTransformer

    from customir.runtime import Embedder

    out, _ = done
    texts = ["who repairs the coffee machine", "price of the phone contract"]
    torch_vectors = SentenceTransformer(str(out / "model"), device="cpu").encode(texts)
    onnx_vectors = Embedder(out / "model", "onnx/model.onnx").encode(texts, "query")
    np.testing.assert_allclose(torch_vectors, onnx_vectors, atol=1e-4)


def test_all_is_private(done: tuple[Path, str]) -> None:
    out, _ = done
    for path in (out, *out.rglob("*")):
        if path.name != "customir.toml":  # written by this test
            assert path.stat().st_mode & 0o077 == 0, path


def test_the_report_names_the_senders_of_most_training_pairs(done: tuple[Path, str]) -> None:
    out, _ = done
    counted = rows(
        out,
        "SELECT sender, count(*) AS pairs FROM query JOIN passage ON passage.key = passage "
        "JOIN document ON document.key = document WHERE split = 'train' AND rejected IS NULL "
        "GROUP BY sender ORDER BY pairs DESC",
    )
    ((detail,),) = rows(out, "SELECT detail FROM stage WHERE name = 'generate'")
    named = json.loads(str(detail))["senders"]
    assert [count for _, count in named] == [count for _, count in counted[:3]]
    assert {tuple(each) for each in named} <= set(counted)


def test_privacy_knows_every_file_and_table_of_a_run(done: tuple[Path, str]) -> None:
    out, _ = done
    entries = list_contents(out)
    assert [e for e in entries if e.content is Content.UNKNOWN] == []
    assert {e.path for e in entries if not e.path.endswith(("-wal", "-shm"))} == {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.endswith(("-wal", "-shm"))
    }
    named = [name.encode() for name in (*PEOPLE, *(f"{thing} " for thing in THINGS))]
    for entry in entries:
        if entry.table is None and entry.content is not Content.TEXT:
            content = (out / entry.path).read_bytes()
            assert not [name for name in named if name in content], entry.path


def test_what_ships_quotes_nothing_and_names_nobody(
    mail: Path, done: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = done
    reports = [tmp_path / "report.html", tmp_path / "report.md"]
    for file in reports:
        subprocess.run(
            [sys.executable, "-m", "customir.cli", "report", str(out), str(file)], check=True
        )
    subjects = [f"{thing} {number}" for number, thing in enumerate(THINGS)]
    places = [out, mail, models.locate("minilm").parent, Path.home(), Path(sys.prefix)]
    wanted = [*PEOPLE, *subjects, "@example.org", *map(str, places)]
    shipped = [path for path in (out / "model").rglob("*") if path.is_file()]
    assert {"README.md", "SHA256SUMS", "model.onnx", "config.json"} <= {p.name for p in shipped}
    for path in [*shipped, *reports]:
        content = path.read_bytes()
        assert [each for each in wanted if each.encode() in content] == [], path
    # The same words are found where they are.
    whole = tmp_path / "whole.md"
    subprocess.run(
        [sys.executable, "-m", "customir.cli", "report", str(out), str(whole), "--with-examples"],
        check=True,
    )
    assert any(subject in whole.read_text() for subject in subjects)
    assert str(mail) in whole.read_text()


def test_search_answers_without_torch(done: tuple[Path, str]) -> None:
    out, _ = done
    code = (
        "import sys\nfrom customir.cli import cli\n"
        f"cli(['search', {str(out)!r}, 'coffee machine technician', '--json', '-k', '3'], "
        "standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'llama_cpp'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    hits = json.loads(result.stdout)
    assert len(hits) == 3
    assert "coffee machine" in hits[0]["title"]
    assert {"score", "sender", "date", "snippet", "identifier"} <= set(hits[0])


def test_run_again_does_nothing_twice(mail: Path, done: tuple[Path, str]) -> None:
    out, printed = done
    before = rows(out, "SELECT name, seconds FROM stage"), sha256_of(out / "index.db")
    result = adapt(mail, out)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("already done") == len(STAGES)
    assert (rows(out, "SELECT name, seconds FROM stage"), sha256_of(out / "index.db")) == before
    assert result.stdout == printed


def test_a_judged_set_is_measured_by_the_same_table(done: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(done[0], tmp_path / "out")  # embeddings are kept in it
    (tmp_path / "qrels").mkdir()
    corpus = {
        "a": "The coffee machine was repaired.",
        "b": "Parking is free.",
        "c": "Lunch at one.",
    }
    queries = {"q": "who mended the espresso maker", "r": "where to leave the car"}
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "qrels" / "test.tsv").write_text("q\tc\ts\nq\ta\t1\nr\tb\t1\n")

    def measured(*more: str) -> str:
        result = subprocess.run(
            [
                sys.executable, "-m", "customir.cli", "evaluate", str(out),
                "--beir", str(tmp_path), *more,
            ],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout

    table = json.loads(measured("--json"))
    systems = [row["system"] for row in table]
    assert systems[:2] == ["BM25", "base"]
    assert {"adapted", "adapted INT8", "hybrid of BM25 and base"} <= set(systems)
    assert all(row["Recall@10"] == 1.0 for row in table if row["system"] != "BM25")
    for line in measured().splitlines()[1:]:
        assert line.split("\t")[0] in systems


def test_check_looks_at_what_is_new_and_changes_nothing(
    mail: Path, done: tuple[Path, str], tmp_path: Path
) -> None:
    out = shutil.copytree(done[0], tmp_path / "out")  # what was computed is kept in it

    def check(*more: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "customir.cli", "check", str(out), *more],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout

    kept = "SELECT name, fingerprint, finished FROM stage", "SELECT key FROM passage"
    before = [rows(out, statement) for statement in kept], sha256_of(out / "index.db")
    assert "There is nothing new" in check(str(mail))
    other = write_mailbox(tmp_path / "other.mbox", seed=1)
    found = json.loads(check(str(other), "--passages", "12", "--json"))
    assert found["passages"] >= 60
    assert 0 < found["threads"] <= 12
    assert found["threads"] <= found["queries"] <= 24
    assert 0 <= found["distance"]["share"] < 0.2, "the same templates, with other names and days"
    assert 0 < found["base"] <= 1
    assert found["verdict"]
    assert ([rows(out, statement) for statement in kept], sha256_of(out / "index.db")) == before


def test_export_check_measures_the_files_anywhere(done: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(done[0], tmp_path / "elsewhere", symlinks=True)

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "customir.cli", "export", "--check", str(out)],
            capture_output=True, text=True, timeout=300,
            env=os.environ | {"CUSTOMIR_MODELS": str(tmp_path / "none")},
        )  # fmt: skip

    result = check()
    assert result.returncode == 0, result.stderr
    files = ("model.safetensors", "onnx/model.onnx", "onnx/model_qint8.onnx")
    for file, line in zip(files, result.stdout.splitlines()[1:4], strict=True):
        assert line.split()[0] == file
    assert "within the limits" in result.stdout

    path = out / "model" / "model.safetensors"
    weights = load_file(path)
    weights["embeddings.word_embeddings.weight"] *= -1
    save_file(weights, path, metadata={"format": "pt"})  # now another model than the ONNX files
    result = check()
    assert result.returncode == 2
    assert "model.safetensors -> onnx/model.onnx: mean cosine" in result.stderr


def test_killed_in_every_stage_it_ends_as_an_uninterrupted_run(
    mail: Path, done: tuple[Path, str], tmp_path: Path
) -> None:
    whole, _ = done
    out = tmp_path / "out"
    killed = []
    for stage in STAGES:
        process = subprocess.Popen(
            command(mail, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 300
            while under_way(out) != stage and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            if process.poll() is None:
                # Somewhere inside the stage; ingest and index take less than a second.
                time.sleep(0.05 if stage in ("ingest", "index") else 1.5)
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            process.kill()
        if process.returncode == -signal.SIGKILL:
            killed.append(stage)
    assert set(killed) >= {"generate", "mine", "train", "evaluate", "export"}
    result = adapt(mail, out)
    assert result.returncode == 0, result.stderr
    for statement in (
        "SELECT key, text, rejected, split FROM query ORDER BY key",
        "SELECT query, passage, rank, score, verdict FROM negative ORDER BY query, passage",
        "SELECT key, value FROM result ORDER BY key",
        "SELECT key, thread, text FROM document ORDER BY key",
        "SELECT key, duplicates, text FROM passage ORDER BY key",
        "SELECT json_extract(detail, '$.losses') FROM stage WHERE name = 'train'",
        "SELECT json_remove(detail, '$.none') FROM stage WHERE name = 'evaluate'",
    ):
        assert rows(out, statement) == rows(whole, statement), statement
    for name in ("training/adapter/adapter_model.safetensors", "model/model.safetensors"):
        assert sha256_of(out / name) == sha256_of(whole / name), name


def test_a_reader_runs_on_while_mail_is_removed_and_no_byte_of_it_is_left(
    done: tuple[Path, str], tmp_path: Path
) -> None:
    out = shutil.copytree(done[0], tmp_path / "out", symlinks=True)
    fewer = write_mailbox(tmp_path / "fewer.mbox", threads=24)

    # What was made of it: the originals as they are stored, and the vectors.
    made = [
        bytes(text)  # type: ignore[call-overload]
        for (text,) in rows(
            out,
            "SELECT original.text FROM original JOIN document ON document = key "
            "WHERE identifier LIKE '<24.%'",
        )
    ]
    with closing(connect(generations.current(out) / "index.db")) as index:
        (number,) = index.execute("SELECT max(number) FROM generation").fetchone()
        made += [
            bytes(vector)
            for (vector,) in index.execute(
                f"SELECT embedding FROM vector_{number} JOIN passage_{number} ON id = rowid "
                "WHERE identifier LIKE '<24.%'"
            )
        ]
    assert len(made) == 6

    def traces() -> set[str]:
        words = b"invoice template", b"24.0@example.org", b"24.1@example.org"
        files = (path for path in out.rglob("*") if path.is_file() and not path.is_symlink())
        contents = ((path.name, path.read_bytes()) for path in files)
        return {
            name
            for name, content in contents
            if any(word in content.lower() for word in words)
            or any(part in content for part in made)
        }

    # Whether a report quotes this mail depends on its samples; these do in any case.
    for name in ("report.html", "report.md"):
        with (out / name).open("a") as file:
            file.write("<!-- invoice template -->")
    for name in ("check/workspace.db", "candidates-killed/weights"):  # left by other commands
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(made[0])
    assert traces() >= {
        "index.db", "index.vectors", "workspace.db", "report.html", "report.md", "weights",
    }  # fmt: skip
    process = subprocess.Popen(
        command(fewer, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    counts = []
    with Searcher(out) as kept:
        while process.poll() is None:
            with Searcher(out) as fresh:
                for searcher in (kept, fresh):
                    assert "coffee machine" in searcher.search("coffee machine", 1)[0].title
                    counts.append(searcher.count())
            time.sleep(0.1)
        counts.append(kept.count())
    assert process.returncode == 0, process.communicate()[1]
    assert sorted(set(counts), reverse=True) == list(dict.fromkeys(counts))
    assert len(set(counts)) == 2, "the old index, and then the new one"
    assert traces() == set()


@pytest.mark.usefixtures("heeded_interrupts")
@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(mail: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(mail, tmp_path / "out", passages=40),  # in several batches: it is still writing
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    written = "SELECT count(*) FROM result WHERE kind = 'query'"
    # Python may lose an interrupt in the middle of an import: wait until all is imported.
    while under_way(tmp_path / "out") != "generate" or rows(tmp_path / "out", written) == [(0,)]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to continue" in told
    assert "Traceback" not in told


def test_settings_there_and_back_leave_what_they_found(
    mail: Path, done: tuple[Path, str], tmp_path: Path
) -> None:
    whole, _ = done
    out = tmp_path / "out"
    shutil.copytree(whole, out, symlinks=True)
    negatives = "SELECT query, passage, score, verdict FROM negative ORDER BY query, passage"
    assert rows(out, negatives)
    for seed in ("1", "0"):
        result = subprocess.run(
            [sys.executable, "-m", "customir.cli", "generate", str(out), "--seed", seed],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
    result = adapt(mail, out)
    assert result.returncode == 0, result.stderr
    assert rows(out, negatives) == rows(whole, negatives)


def test_another_setting_makes_only_what_depends_on_it_stale(
    mail: Path, done: tuple[Path, str]
) -> None:
    out, _ = done
    toml = (out / "customir.toml").read_text()
    try:
        (out / "customir.toml").write_text(toml.replace("epochs = 2", "epochs = 3"))
        result = subprocess.run(
            [sys.executable, "-m", "customir.cli", "status", str(out), "--json"],
            capture_output=True,
            text=True,
        )
    finally:
        (out / "customir.toml").write_text(toml)
    states = {row["name"]: row["state"] for row in json.loads(result.stdout)["stages"]}
    assert states == {
        "ingest": "done", "generate": "done", "mine": "done", "train": "stale",
        "evaluate": "stale", "export": "stale", "index": "stale",
    }  # fmt: skip
