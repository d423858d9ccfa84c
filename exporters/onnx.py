"""Export of a sentence-transformers folder to one ONNX graph that pools and normalises."""

import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import onnx
from customir.exporters.onnx_store import MAX_BYTES, place, record_checksum, save
from optimum.exporters.onnx import onnx_export_from_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from customir.encoder.folder import TOKENIZER_NAME, read_model_folder, weight_files
from customir.errors import UserError
from customir.files import make_private_folder, sha256_of

ONNX_FOLDER = "onnx"
FP32_NAME = "model.onnx"
FP32_FILE = f"{ONNX_FOLDER}/{FP32_NAME}"


def export_onnx(model: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Write model/onnx/model.onnx, float32, and model.onnx.data if the weights are large.

    Inputs: input_ids and attention_mask, int64 of shape (batch, sequence), both dynamic.
    Outputs: last_hidden_state, the token embeddings, float32 of shape (batch, sequence, d), under
    the name that optimum, and so sentence-transformers' ONNX backend, expects; sentence_embedding,
    float32 of shape (batch, d), pooled as the folder says, with rows of length 1 (even if the
    folder has no Normalize module).

    Args:
        max_bytes: With more bytes of weights than this, they are written to a file of their own.

    Returns:
        The file's path. SHA256SUMS beside it contains its checksum and the tokenizer's.

    Raises:
        UserError: the folder cannot be exported.
    """
    with quiet():
        # "eager" is the attention that onnxruntime.transformers can fuse.
        encoder = load_encoder(model, attention="eager")
        if (width := read_model_folder(model).truncate_dim) is not None:
            encoder.append(_Truncate(width))
        if not isinstance(encoder[-1], Normalize):
            encoder.append(Normalize())
        with scratch_folder(model / ".onnx.part") as scratch:
            onnx_export_from_model(
                encoder, output=scratch, task="feature-extraction", do_validation=False
            )
            del encoder
            graph = onnx.load(scratch / FP32_NAME)
            _rename_tensor(graph, "token_embeddings", "last_hidden_state")
            renamed = make_private_folder(scratch / "renamed") / FP32_NAME
            made = place(save(graph, renamed, max_bytes), model / FP32_FILE)
    record_tokenizer(model)
    return made


def record_tokenizer(model: Path) -> None:
    """Add the checksum of the model's tokenizer to those of its ONNX files."""
    checksum = sha256_of(model / TOKENIZER_NAME)
    record_checksum(model / ONNX_FOLDER, f"../{TOKENIZER_NAME}", checksum)


class _Truncate(nn.Module):
    """Keeps the first dimensions, as sentence-transformers' `truncate_dim` does."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self._dimensions = dimensions

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        vectors = features["sentence_embedding"][:, : self._dimensions]
        return {**features, "sentence_embedding": vectors}


def load_encoder(model: Path, attention: str = "sdpa") -> SentenceTransformer:
    """Load the folder in torch, on the CPU. Call it within `quiet`.

    Raises:
        UserError: the folder is not usable.
    """
    weight_files(read_model_folder(model))  # refuses code of the folder's own, and pickles
    try:
        return SentenceTransformer(
            str(model),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"attn_implementation": attention, "use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{model}: not a usable sentence-transformers folder ({error}).") from error


def _rename_tensor(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.output, *model.graph.value_info):
        if value.name == old:
            value.name = new


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty private folder that is deleted afterwards; removes what a killed run left in it."""
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield make_private_folder(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the messages of the export libraries about tracing and fusing."""
    verbosity = transformers_logging.get_verbosity()
    disabled = logging.root.manager.disable
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        transformers_logging.set_verbosity(verbosity)
