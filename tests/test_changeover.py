"""`export` and `index` on a DIR that is being searched: new model and index together, and back."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mail import write_mailbox

from customir import pipeline
from customir.job import Job
from customir.progress import Silent
from customir.queries.splits import split_passages
from customir.runtime import Searcher, generations
from customir.settings import Settings, read_settings, write_settings
from customir.workspace import Workspace
from customir.workspace.queries import Query, write_queries

PRETENDED: dict[str, dict[str, Any]] = {
    "generate": {
        "sampled_passages": 1, "languages": [], "held_out_only": False, "written": 1, "rejected": {},
        "kept_by_style": {}, "kept_by_split": {}, "tokens": {"submitted": 0, "computed": 0},
        "samples": [],
    },
    "mine": {"candidates": 0, "calibration": None},
    "train": {"adapter": None, "examples": 0, "losses": []},
}  # fmt: skip
GONE = b"invoice template", b"24.0@example.org", b"24.2@example.org"


def pretend(job: Job, name: str, detail: dict[str, Any]) -> None:
    later = pipeline.STAGES[pipeline.STAGES.index(pipeline.STAGE[name]) + 1 :]
    fingerprint = pipeline._fingerprint(pipeline.STAGE[name], job)
    job.workspace.begin_stage(name, fingerprint, [each.name for each in later])
    job.workspace.finish_stage(name, detail)


def up_to(folder: Path, last: str) -> None:
    """All stages up to `last`; what the LLM and the trainer do is made up, and the base ships."""
    settings = read_settings(folder, {})
    with Workspace(folder) as workspace:
        job = Job(workspace, settings, Silent())
        pipeline.run_stage(pipeline.STAGE["ingest"], job)
        for name, detail in PRETENDED.items():
            pretend(job, name, detail)
        splits = split_passages(job.passages, settings.evaluation.held_out_fraction, settings.seed)
        write_queries(
            workspace,
            [
                Query(f"q{n}", p.key, "question", f"who wrote {p.text[:40]}", None, splits[p.key])
                for n, p in enumerate(job.passages)
            ],
        )
        (folder / "training").mkdir(exist_ok=True)
        for name in ("evaluate", "export", "index"):
            pipeline.run_stage(pipeline.STAGE[name], job)
            if name == last:
                return


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    root = tmp_path_factory.mktemp("changeover")
    write_mailbox(root / "mail.mbox")
    folder = root / "out"
    folder.mkdir(mode=0o700)
    settings = Settings.model_validate(
        {
            "sources": [str(root / "mail.mbox")], "llm": "smollm2-135m", "device": "cpu",
            "threads": 1, "evaluation": {"reference_model": ""},
        }
    )  # fmt: skip
    write_settings(folder, settings)
    up_to(folder, "index")
    return folder


def traces(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files if any(word in path.read_bytes().lower() for word in GONE)}


def test_the_way_through(made: Path, tmp_path: Path) -> None:
    assert (made / "model").resolve().parent == (made / "index.db").resolve().parent
    folder = Path(shutil.copytree(made, tmp_path / "out", symlinks=True))
    assert traces(folder) >= {"index.db", "workspace.db"}
    first = generations.current(folder)
    with Searcher(folder) as searcher:
        assert searcher.count() == 75
        # Mail leaves the sources: until the index is made, the old state is searched.
        mail = tmp_path / "fewer.mbox"
        write_mailbox(mail, threads=24)
        write_settings(folder, read_settings(folder, {"sources": [str(mail)]}))
        up_to(folder, "export")
        assert generations.current(folder) == first
        assert generations.unfinished(folder) is not None
        assert searcher.count() == 75
        up_to(folder, "index")
        assert searcher.count() == 72
        assert traces(folder) == set()
        assert not first.exists()
    done = subprocess.run(
        [sys.executable, "-m", "customir", "rollback", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no earlier model and index" in done.stderr, "it held what was removed"
    generation = generations.begin(folder)
    generations.link_model(generations.current(folder), generation)
    shutil.copy(generations.current(folder) / "index.db", generation)
    generations.publish(folder, generation, keep_previous=True)
    done = subprocess.run(
        [sys.executable, "-m", "customir", "rollback", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert generations.previous(folder) == generation
