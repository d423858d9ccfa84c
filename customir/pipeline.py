"""The order of the stages; no other file knows all of them.

A stage is done if its row in the workspace is finished and has the fingerprint of its present inputs: its
settings and the earlier stages. It is then skipped. Otherwise it runs, and finds in the workspace what an
earlier or interrupted run has already computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from customir import __version__, models
from customir.corpus.sources import check_sources
from customir.encoder.folder import read_model_folder, refuse_static
from customir.errors import UserError
from customir.job import Job, StageSummary
from customir.report.markdown import write_report
from customir.report.page import write_page
from customir.report.run import read_run
from customir.settings import Settings
from customir.stages import evaluate, export, generate, index, ingest, mine, train
from customir.workspace import StageState, content_key


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline.

    Attributes:
        name: Its name in the workspace and on the command line.
        title: Its description for users.
        run: The function that does the work and returns the summary for the report.
        basis: Everything that determines its result besides the earlier stages.
        is_present: Whether the files that it writes to DIR exist; without them it is not done.
    """

    name: str
    title: str
    run: Callable[[Job], StageSummary]
    fingerprint_inputs: Callable[[Job], Sequence[str]]
    is_present: Callable[[Job], bool] = lambda job: True


def check(settings: Settings, *, adapts: bool = True) -> None:
    """Check sources and models before any work is done.

    Args:
        adapts: Whether the base is adapted, for which the LLM is needed, too.

    Raises:
        UserError: a source or a model cannot be used. It says which one and what to do.
    """
    check_sources([Path(source) for source in settings.sources])
    embedder = models.locate(settings.embedder, "embedder")
    if not adapts:
        return
    refuse_static(read_model_folder(embedder))
    if not settings.llm_urls:
        models.locate(settings.llm, "llm")


def run_all(job: Job) -> None:
    """Run every stage that is not done, in order."""
    for stage in STAGES:
        run_stage(stage, job)


def run_stage(stage: Stage, job: Job) -> None:
    """Run one stage, unless it is done.

    Raises:
        UserError: an earlier stage is not done. It names the command to run.
    """
    _require_earlier(stage, job)
    number = STAGES.index(stage)
    if is_done(stage, job):
        job.reporter.say(f"[{number + 1}/{len(STAGES)}] {stage.title}: already done")
        return
    job.reporter.say(f"[{number + 1}/{len(STAGES)}] {stage.title}")
    later = [other.name for other in STAGES[number + 1 :]]
    job.workspace.begin_stage(stage.name, _fingerprint(stage, job), later)
    job.workspace.finish_stage(stage.name, stage.run(job))
    if not later:
        job.workspace.forget_removed()
    run = read_run(job.workspace, job.settings)
    write_report(run)
    write_page(run)


def _require_earlier(stage: Stage, job: Job) -> None:
    for earlier in STAGES[: STAGES.index(stage)]:
        if not is_done(earlier, job):
            out = "--out " if earlier.name == "ingest" else ""
            raise UserError(
                f"{job.folder}: stage `{earlier.name}` comes before `{stage.name}` and is not "
                f"done for the current settings. Run: customir {earlier.name} {out}{job.folder}"
            )


def is_done(stage: Stage, job: Job) -> bool:
    """Whether the stage's result is up to date with the settings and the earlier stages."""
    state = job.workspace.stage(stage.name)
    return (
        state is not None
        and state.finished
        and state.fingerprint == _fingerprint(stage, job)
        and stage.is_present(job)
    )


def states(job: Job) -> list[tuple[Stage, StageState | None, bool]]:
    """Each stage with its state in the workspace, and whether it is done."""
    return [(stage, job.workspace.stage(stage.name), is_done(stage, job)) for stage in STAGES]


def _fingerprint(stage: Stage, job: Job) -> str:
    number = STAGES.index(stage)
    before = _fingerprint(STAGES[number - 1], job) if number else __version__
    return content_key(before, stage.name, *stage.fingerprint_inputs(job))


def help_to_train(job: Job) -> None:
    """What a process of torchrun beside the first does: its share, writing nothing.

    Raises:
        UserError: the stage before is not done.
    """
    stage = STAGE["train"]
    _require_earlier(stage, job)
    if not is_done(stage, job):
        stage.run(job)


STAGES = (
    Stage("ingest", "Reading the corpus", ingest.run, ingest.fingerprint_inputs),
    Stage("generate", "Writing queries", generate.run, generate.fingerprint_inputs),
    Stage("mine", "Mining and judging hard negatives", mine.run, mine.fingerprint_inputs),
    Stage("train", "Training the adapter", train.run, train.fingerprint_inputs, train.is_present),
    Stage("evaluate", "Evaluating on held-out queries", evaluate.run, evaluate.fingerprint_inputs),
    Stage(
        "export", "Exporting the model", export.run, export.fingerprint_inputs, export.is_present
    ),
    Stage("index", "Indexing the corpus", index.run, index.fingerprint_inputs, index.is_present),
)
STAGE = {stage.name: stage for stage in STAGES}
