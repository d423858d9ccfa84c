"""The stage itself, on a workspace whose queries were written by hand."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from mail import write_mailbox

from customir import pipeline
from customir.job import Job
from customir.progress import Silent
from customir.queries.splits import split_passages
from customir.runtime.embedder import Embedder, fingerprint, index_fingerprint, passage_model
from customir.runtime.search import search
from customir.settings import Settings, read_settings, write_settings
from customir.stages.export import model_folder
from customir.workspace import Workspace
from customir.workspace.queries import Query, read_negatives, read_queries, write_queries

TRAINING = {"batch_size": 8, "epochs": 1, "precision": "fp32", "learning_rate": 1e-3}
Make = Callable[..., Path]


def stage(name: str) -> pipeline.Stage:
    return pipeline.STAGE[name]


def pretend(job: Job, name: str, detail: dict[str, Any]) -> None:
    """A stage done with this result."""
    later = pipeline.STAGES[pipeline.STAGES.index(stage(name)) + 1 :]
    fingerprint_now = pipeline._fingerprint(stage(name), job)
    job.workspace.begin_stage(name, fingerprint_now, [each.name for each in later])
    job.workspace.finish_stage(name, detail)


@pytest.fixture
def workspace(minilm: Path, smollm: Path, tmp_path: Path) -> Make:
    """Makes a DIR that is ready for `train`: read for good, with a query for each passage."""

    def make(name: str = "out", mined: bool = True, **training: object) -> Path:
        mail = tmp_path / "mail.mbox"
        if not mail.exists():
            write_mailbox(mail, threads=20)
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        settings = Settings.model_validate(
            {
                "sources": [str(mail)], "llm": "smollm2-135m", "device": "cpu", "threads": 1,
                "negatives": {"candidates_per_query": 1, "min_judge_auc": 0.5},
                "training": {**TRAINING, **training}, "evaluation": {"interpolation_weights": [1.0]},
            }
        )  # fmt: skip
        write_settings(folder, settings)
        with Workspace(folder) as database:
            job = Job(database, settings, Silent())
            pipeline.run_stage(stage("ingest"), job)
            splits = split_passages(
                job.passages, settings.evaluation.held_out_fraction, settings.seed
            )
            figures = {
                "sampled_passages": 1, "languages": [], "held_out_only": False, "written": 1, "rejected": {}, "kept_by_style": {},
                "kept_by_split": {}, "tokens": {"submitted": 0, "computed": 0}, "samples": [],
            }  # fmt: skip
            pretend(job, "generate", figures)
            write_queries(
                database,
                [
                    Query(
                        f"q{n}", p.key, "question", f"who wrote {p.text[:40]}", None, splits[p.key]
                    )
                    for n, p in enumerate(job.passages)
                ],
            )
            if mined:
                pretend(job, "mine", {"candidates": 0, "calibration": None})
        return folder

    return make


def customir(*arguments: str | Path, torchrun: bool = False) -> subprocess.CompletedProcess[str]:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *(several if torchrun else []), "-m", "customir"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


def adapter(folder: Path) -> dict[str, Any]:
    return safetensors.torch.load_file(folder / "training/adapter/adapter_model.safetensors")


def test_torchrun_trains_what_one_process_trains(workspace: Make) -> None:
    one, two = (workspace(name, mini_batch_num_tokens=256) for name in ("one", "two"))
    done = customir("train", one)
    assert done.returncode == 0, done.stderr
    done = customir("train", two, torchrun=True)
    assert done.returncode == 0, done.stderr
    wanted, found = adapter(one), adapter(two)
    assert wanted.keys() == found.keys()
    for name, weight in wanted.items():
        assert (found[name] - weight).norm() <= 1e-3 * weight.norm(), name
    again = customir("train", two, torchrun=True)
    assert again.returncode == 0, again.stderr
    assert "already done" in again.stdout + again.stderr
    with Workspace(two, write=False) as database:
        state = database.stage("train")
        assert state is not None
        assert state.finished


def test_a_forerunner_that_is_missing_stops_every_process(workspace: Make) -> None:
    done = customir("train", workspace(mined=False), torchrun=True)
    assert done.returncode != 0
    assert "customir mine" in done.stderr


def test_queries_alone_keep_the_index_of_the_base(workspace: Make, minilm: Path) -> None:
    folder = workspace(freeze_passage_encoder=True)
    with Workspace(folder) as database:
        job = Job(database, Settings.model_validate({**_settings(folder)}), Silent())
        pipeline.run_stage(stage("train"), job)
        pipeline.run_stage(stage("evaluate"), job)
        verdict = database.stage("evaluate")
        assert verdict is not None
        # As if it had been better.
        pretend(job, "evaluate", {**_with_adapted_row(verdict.detail), "weight": 1.0})
        pipeline.run_stage(stage("export"), job)
        pipeline.run_stage(stage("index"), job)
        model = folder / "model"
        base = passage_model(model)
        assert fingerprint(model) != fingerprint(base) == index_fingerprint(model)
        assert (base / "model.safetensors").read_bytes() == (
            minilm / "model.safetensors"
        ).read_bytes()
        asked = "who wrote about the parking garage"
        content = {passage.key: passage.content for passage in job.passages}
        vectors = Embedder(base).encode(list(content.values()))
        query = Embedder(model).encode([asked], "query")[0]
        best = list(content)[int(np.argmax(vectors @ query))]
        assert search(folder, asked, 3, "vector")[0].key == best
        assert not np.allclose(query, Embedder(base).encode([asked], "query")[0], atol=1e-3)
        # The base ships after all: its own vectors are the same, so the index needs no work.
        pretend(job, "evaluate", {**verdict.detail, "weight": 0.0})
        pipeline.run_stage(stage("export"), job)
        newest = model_folder(job)
        assert passage_model(newest) == newest
        assert index_fingerprint(newest) == fingerprint(newest) != fingerprint(model)
        assert search(folder, asked, 3, "vector")[0].key == best, "until the index is made"
        pipeline.run_stage(stage("index"), job)
        assert fingerprint(newest) == fingerprint(model)
        state = database.stage("index")
        assert state is not None
        assert state.detail["added"] == 0


def _with_adapted_row(detail: dict[str, Any]) -> dict[str, Any]:
    """With the base's metrics as those of an adapted model, where dev chose none."""

    def added(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
        systems = {row["system"]: row for row in table}
        if "base" in systems:
            systems.setdefault("adapted", {**systems["base"], "system": "adapted"})
        return list(systems.values())

    people = detail["self_supervised"]
    return {
        **detail,
        "table": added(detail["table"]),
        "self_supervised": {**people, "table": added(people["table"])},
    }


def _settings(folder: Path) -> dict[str, Any]:
    from customir.settings import read_settings

    return read_settings(folder, {}).model_dump()


def test_what_is_mined_for_nothing_is_said(
    workspace: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    class Said(Silent):
        def say(self, text: str) -> None:
            print(text)

    folder = workspace(mined=False)
    with Workspace(folder) as database:
        job = Job(database, read_settings(folder, {}), Said())
        free = [replace(query, style="subject") for query in read_queries(database)]
        write_queries(database, free)
        pipeline.run_stage(stage("mine"), job)
        assert not read_negatives(database)
    assert "they are mined for the LLM's queries" in capsys.readouterr().out
