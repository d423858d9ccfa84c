"""Exporting the model: merged, ONNX and INT8, each file compared with the one before, and a model card."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from customir import __version__, models
from customir.errors import UserError
from customir.files import sha256_of
from customir.job import Job, StageSummary
from customir.job.held_out import held_out_data_of
from customir.job.parity_queries import parity_queries_of
from customir.report.run import read_run
from customir.report.wording import comparison_rows, learned_from, negatives_line

if TYPE_CHECKING:
    from customir.exporters.card import Facts
    from customir.exporters.int8 import Quantized
    from customir.exporters.similarity import HeldOut


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return tuple(file for file, wanted in job.settings.export if wanted)


def is_present(job: Job) -> bool:
    """Whether the model that this stage wrote exists."""
    return exported_generation(job) is not None


def exported_generation(job: Job) -> Path | None:
    """The generation with the model that this stage wrote, whether published already or not."""
    from customir.runtime import generations

    state = job.workspace.stage("export")
    made = state.detail.get("model") if state else None
    places = (
        generations.unfinished(job.folder) if state and state.finished else None,
        generations.current(job.folder),
        generations.previous(job.folder),
    )
    return next(
        (
            place
            for place in places
            if place and (checksums := place / "model" / "onnx" / "SHA256SUMS").exists()
            # An earlier version left no checksum, and a single model.
            if made in (None, sha256_of(checksums))
        ),
        None,
    )


def model_folder(job: Job) -> Path:
    """The newest model: the one that `index` will make current, or else DIR's current one.

    Raises:
        UserError: there is no model.
    """
    generation = exported_generation(job)
    if generation is None:
        raise UserError(
            f"{job.folder}: it has no model yet. Run: customir adapt SOURCE --out {job.folder}"
        )
    return generation / "model"


def run(job: Job) -> StageSummary:
    from customir.embeddings import stored_embeddings
    from customir.evaluation.compare import Candidate, measure_int8, pool_of_test
    from customir.exporters.card import SUFFIXES, write_card
    from customir.exporters.parity import losses, measure_parity, table
    from customir.runtime import generations
    from customir.runtime.index import adopt

    adopt(job.folder)
    generation = generations.begin(job.folder)
    weight, model = job.summary("evaluate")["weight"], generation / generations.MODEL_NAME
    held_out = parity_queries_of(job)
    quantized = _write_files(job, generation, weight, held_out)
    job.reporter.say("  comparing each file with the one that it was made from")
    chain = measure_parity(model, held_out, job.reporter, quantized.encoded)
    if lost := losses(chain, held_out):
        raise UserError(f"{model}: the exported files differ: {'; '.join(lost)}.")
    embed = stored_embeddings(job.workspace, "export", job.reporter)
    compared = [Candidate(job.embedder, job.embedder, "base")]
    if weight:
        frozen = job.settings.training.freeze_passage_encoder
        compared.append(Candidate(model, job.embedder if frozen else model, "adapted"))
    test = pool_of_test(held_out_data_of(job), compared, job.settings, embed).data
    int8 = measure_int8(
        test,
        job.embedder,
        model,
        "adapted INT8" if weight else "base INT8",
        job.settings,
        embed,
    ).as_row()
    write_card(model, _facts(job, int8, table(chain), quantized))
    if not (generations.current(job.folder) / generations.INDEX_NAME).exists():
        # Nothing can be searched yet, so this changes nothing for anybody.
        generations.publish(job.folder, generation, keep_previous=False)
    else:
        job.reporter.say(
            f"  {model}: will be searched when its index is built (customir index {job.folder})"
        )
    return {
        "model": sha256_of(model / "onnx" / "SHA256SUMS"),
        "table": [int8],
        "setting": quantized.setting,
        "given_up": quantized.given_up,
        "parity": dataclasses.asdict(quantized.measured)["parity"],
        "chain": table(chain),
        "sizes": {
            path.name: path.stat().st_size
            for path in sorted(model.rglob("*"))
            if path.suffix in SUFFIXES
        },
    }


def _write_files(job: Job, generation: Path, weight: float, held_out: "HeldOut") -> "Quantized":
    """Write the model's files, and the passage model if the passage encoder is frozen."""
    from customir.exporters.fp16 import export_fp16
    from customir.exporters.gguf import export_gguf
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.passages import write_passage_model
    from customir.runtime import generations

    model, say = generation / generations.MODEL_NAME, job.reporter.say
    say(f"  merging the adapter with weight {weight:g}" if weight else "  copying the base")
    adapter = job.folder / (job.summary("train")["adapter"] or "")
    merge_adapter(job.embedder, adapter, weight, model)
    say("  exporting to ONNX")
    export_onnx(model)
    say("  quantising to INT8")
    quantized = quantize(model, held_out, job.reporter)
    for loss in quantized.given_up:
        say(f"  too lossy, so a less lossy setting is tried: {loss}")
    if job.settings.export.fp16:
        say("  converting to half precision")
        export_fp16(model)
    if job.settings.export.gguf:
        say("  writing GGUF")
        export_gguf(model)
    if weight and job.settings.training.freeze_passage_encoder:
        say("  exporting the base, which embeds the passages")
        write_passage_model(
            job.embedder, generation / generations.PASSAGE_MODEL_NAME, model, held_out, job.reporter
        )
    return quantized


def _facts(
    job: Job, int8: dict[str, Any], chain: Sequence[Sequence[str]], quantized: "Quantized"
) -> "Facts":
    """The contents of the model card."""
    from customir.exporters.card import Facts, base_licence

    run = read_run(job.workspace, job.settings)
    ingested, trained, evaluated = (job.summary(stage) for stage in ("ingest", "train", "evaluate"))
    named = models.find(job.settings.embedder)
    return Facts(
        base=named.name if named else job.embedder.name,
        licence=(named.licence or None) if named else base_licence(job.embedder),
        weight=evaluated["weight"],
        verdict=evaluated["reason"],
        trained_on=f"{learned_from(run)} {negatives_line(run)}",
        corpus={
            "documents": ingested["kept"],
            "threads": ingested["threads"],
            "passages": ingested["passages"],
            "training pairs": trained["examples"],
            "held-out test queries": evaluated["queries"],
        },
        compared=comparison_rows([*evaluated["table"], int8], job.settings.evaluation.confidence),
        chain=chain,
        int8=(quantized.setting, *(f"Given up: {loss}" for loss in quantized.given_up)),
        settings={
            "customir": __version__,
            "seed": job.settings.seed,
            "LLM": "on a server" if job.settings.llm_urls else job.llm.name,
            **job.settings.training.model_dump(mode="json"),
        },
    )
