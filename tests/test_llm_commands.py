"""The commands around the LLM: analyze, models optimize, and --llm-url."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from mail import write_mailbox


def customir(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir.cli", *arguments], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, smollm: Path, minilm: Path) -> Path:
    folder = tmp_path_factory.mktemp("analyze")
    mail = write_mailbox(folder / "mail.mbox")
    run = customir("ingest", str(mail), "--out", str(folder / "out"), "--llm", "smollm2-135m")
    assert run.returncode == 0, run.stderr
    return folder / "out"


@dataclass(frozen=True)
class Babbling:
    """A workspace of its own that is ingested, and a small LLM that writes nonsense."""

    out: Path
    llm: Path

    def generate(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return customir("generate", str(self.out), "--llm", str(self.llm), *flags)


@pytest.fixture
def babbling(ingested: Path, tmp_path: Path) -> Babbling:
    pytest.importorskip("gguf", reason="the writer of GGUF files, of the extra `dev`")
    from gguf_files import write_babbler

    out = tmp_path / "out"
    shutil.copytree(ingested, out)
    toml = (out / "customir.toml").read_text()  # with the server of another test
    (out / "customir.toml").write_text(re.sub(r"llm_urls = \[[^]]*\]", "llm_urls = []", toml))
    write_babbler(tmp_path / "babbler.gguf")
    return Babbling(out, tmp_path / "babbler.gguf")


def test_analyze_shows_the_corpus_and_computes_its_embeddings_once(ingested: Path) -> None:
    first = customir("analyze", str(ingested))
    assert first.returncode == 0, first.stderr
    for expected in ("75 documents", "25 threads", "languages: en", "3 topics", "2024"):
        assert expected in first.stdout
    assert "embedding passages" in first.stderr
    again = customir("analyze", str(ingested), "--json")
    assert again.returncode == 0, again.stderr
    assert "embedding passages" not in again.stderr
    summary = json.loads(again.stdout)
    assert summary["documents"] == 75
    assert sum(topic["size"] for topic in summary["topics"]) == summary["passages"]
    named = [topic["name"] for topic in summary["topics"] if topic["name"]]
    assert named, "not one topic has a name from the LLM"
    assert all(f"{name}: " in first.stdout for name in named)


def test_analyze_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    run = customir("analyze", str(tmp_path / "nowhere"))
    assert run.returncode == 2
    assert "customir ingest" in run.stderr


def test_a_server_that_is_not_there_is_named(ingested: Path) -> None:
    # Port 9 (discard): the network block allows it, and nobody listens.
    run = customir("generate", str(ingested), "--llm-url", "http://127.0.0.1:9")
    assert run.returncode == 2
    assert "no LLM server is left" in run.stderr
    assert "127.0.0.1:9" in run.stderr
    run = customir("generate", str(ingested), "--llm-url", "not a url")
    assert run.returncode == 2
    assert "--llm-url not a url" in run.stderr


@pytest.mark.parametrize("name", ["minilm", "no-such-model"])
def test_only_an_llm_can_be_optimized(name: str) -> None:
    run = customir("models", "optimize", name)
    assert run.returncode == 2
    assert name in run.stderr


def test_a_model_that_babbles_trains_nothing_and_is_not_believed(babbling: Babbling) -> None:
    out = babbling.out
    run = babbling.generate("--passages", "12", "--queries", "2")
    assert run.returncode == 0, run.stderr
    with closing(sqlite3.connect(out / "workspace.db")) as database:
        kept, rejected = database.execute(
            "SELECT sum(rejected IS NULL), sum(rejected IS NOT NULL) FROM query "
            "WHERE style NOT IN ('subject', 'reply')"
        ).fetchone()
        by_reason = dict(
            database.execute(
                "SELECT rejected, count(*) FROM query WHERE rejected IS NOT NULL GROUP BY rejected"
            )
        )
    assert kept + rejected == 24
    assert rejected >= 22
    run = customir("mine", str(out))
    assert run.returncode == 0, run.stderr
    report = (out / "report.md").read_text()
    counted = re.findall(r"^\| rejected: (.+) \| (\d+) \|$", report, re.MULTILINE)
    assert {reason: int(count) for reason, count in counted} == by_reason != {}
    assert "No hard negatives were mined" in report or "too low to be trusted" in report


def test_with_enough_self_supervised_pairs_the_llm_writes_for_held_out_threads_alone(
    babbling: Babbling,
) -> None:
    out = babbling.out
    toml = (out / "customir.toml").read_text()
    self_supervised_pairs = "SELECT count(*) FROM query WHERE style IN ('subject', 'reply', 'ict')"
    by_split = (
        "SELECT DISTINCT split FROM query WHERE style NOT IN ('subject', 'reply', 'ict') "
        "ORDER BY split"
    )
    found = 0
    for more, expected in ((0, ["dev", "test"]), (1, ["dev", "test", "train"])):
        enough = found + more  # as many as there are, and one more
        settings, changed = re.subn(
            r"(sufficient_self_supervised_pairs = )\d+", rf"\g<1>{enough}", toml
        )
        assert changed == 1
        (out / "customir.toml").write_text(settings)
        run = babbling.generate("--passages", "25", "--queries", "1")
        assert run.returncode == 0, run.stderr
        assert ("held-out threads only" in run.stderr) == (not more)
        with closing(sqlite3.connect(out / "workspace.db")) as database:
            assert [split for (split,) in database.execute(by_split)] == expected
            (found,) = database.execute(self_supervised_pairs).fetchone()
    assert found > 8
