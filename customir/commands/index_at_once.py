"""`customir index SOURCE --out DIR`: a searchable index at once, with the model that DIR has."""

from pathlib import Path

from customir.encoder.folder import read_model_folder
from customir.job import Job
from customir.pipeline import STAGE, run_stage
from customir.runtime import generations
from customir.stages.index import passages_to_index


def index_at_once(job: Job) -> int:
    """Read the sources and index them with DIR's current model, or with the base.

    No LLM is used and nothing is trained. `customir adapt` on the same DIR continues from here: its
    model and index replace these together, and a search meanwhile finds the old ones.

    Returns:
        Passages in the index.

    Raises:
        UserError: a source or the model cannot be read.
    """
    from customir.runtime.embedder import Embedder, passage_model
    from customir.runtime.index import adopt, build_successor, holds

    run_stage(STAGE["ingest"], job)
    adopt(job.folder)
    passages = passages_to_index(job.workspace)
    current = generations.current(job.folder)
    has_model = (current / generations.MODEL_NAME / "onnx" / "SHA256SUMS").exists()
    if has_model:
        embedder = Embedder(passage_model(current / generations.MODEL_NAME), threads=job.threads)
        if (current / generations.INDEX_NAME).exists() and holds(job.folder, passages, embedder):
            return len(passages)
    generation = generations.begin(job.folder)
    if has_model:
        generations.link_model(current, generation)
    else:
        _export_base(job, generation)
    embedder = Embedder(passage_model(generation / generations.MODEL_NAME), threads=job.threads)
    build_successor(job.folder, generation, passages, embedder, job.reporter)
    return len(passages)


def _export_base(job: Job, generation: Path) -> None:
    from customir.exporters.int8 import CALIBRATING_PASSAGES, quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.similarity import HeldOut
    from customir.exporters.static import export_static

    model = generation / generations.MODEL_NAME
    job.reporter.say("exporting the base")
    if read_model_folder(job.embedder).is_static:
        export_static(job.embedder, model)
    else:
        merge_adapter(job.embedder, job.folder, 0.0, model)
        export_onnx(model)
    texts = [passage.content for passage in job.passages[:CALIBRATING_PASSAGES]]
    quantize(model, HeldOut(texts), job.reporter)
