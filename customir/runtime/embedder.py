"""The embedder of a model folder, run by CustomIR's INT8 kernel or ONNX Runtime, without PyTorch."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer  # type: ignore[import-untyped]

from customir.encoder.folder import TOKENIZER_NAME, Kind, ModelFolder, read_json, read_model_folder
from customir.encoder.readability import is_readable
from customir.encoder.tokenizer import lower_cased
from customir.errors import UserError
from customir.files import sha256_of
from customir.processors import usable_processors
from customir.runtime.int8_file import read_encoder

if TYPE_CHECKING:
    from customir.progress import Task

Backend = Literal["auto", "onnxruntime"]
Vectors = npt.NDArray[np.float32]

DEFAULT_FILE = "onnx/model_qint8.onnx"
CHECKSUMS_NAME = "SHA256SUMS"
# Padded tokens in a batch, which one core embeds. More does not fit its caches.
TOKENS_PER_BATCH = 512
TOKENS_PER_GPU_BATCH = 16384
# In a model folder that was adapted for queries alone: which model embeds passages.
PASSAGES_NAME = "passages.json"
TEXTS_PER_TOKENIZATION = 1024
CACHED_QUERIES = 1024
ERRORS_ONLY, FATAL_ONLY = 3, 4
INT8 = "qint8"  # in the name of a file for CPUs: CUDA has no such nodes
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
KERNEL = "CustomIRKernel"  # beside those names of ONNX Runtime's

log = logging.getLogger(__name__)


class Embedder:
    """Turns texts into unit vectors, as sentence-transformers would with the same folder.

    Each core embeds batches of its own: they never wait for one another within a batch.
    An INT8 file of BERT's family is run by our own kernel on processors with AVX2 and more, and on
    arm64 with dot products (kernels/int8_encoder). All else is run by ONNX Runtime; there, an INT8 vector
    depends a little on the texts that share its batch, since activations are quantised with one
    scale for each batch. The same texts in one call give the same vectors.

    Args:
        folder: A sentence-transformers folder with an ONNX file that pools and normalises
            (`customir.exporters` makes it).
        file: Which ONNX file, relative to `folder`.
        threads: How many batches run at a time, one core each; None: one per usable core.
        dimensions: Keep only the first dimensions, scaled to length 1 again; None: all. For models
            that were trained for it (Matryoshka; arXiv 2205.13147) it costs little.
        backend: auto: our kernel where it can run the file, and ONNX Runtime elsewhere. onnxruntime:
            ONNX Runtime everywhere, as for others who load the file; `customir export` compares both.

    Attributes:
        dimensions: Length of a vector.
        provider: What does the work: KERNEL, or ONNX Runtime's provider, which is CUDA's for the
            float files where `onnxruntime-gpu` finds a GPU.
        fingerprint: Hash of everything that determines a vector; an index is stamped with it.

    Raises:
        UserError: a file is missing, damaged or of the wrong kind.
    """

    def __init__(
        self,
        folder: Path,
        file: str = DEFAULT_FILE,
        threads: int | None = None,
        dimensions: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        self._folder = read_model_folder(folder)
        self._tokenizer = _read_tokenizer(self._folder)
        path = folder / file
        checksum = verified_checksum(path)
        self.fingerprint = _fingerprint(self._folder, checksum, dimensions)
        self._encoder = read_encoder(path) if backend == "auto" and INT8 in path.name else None
        if self._encoder is None:
            self._session = _open_session(path)
            width = _vector_length(self._session, path)
            self.provider: str = self._session.get_providers()[0]
        else:
            kept = self._folder.truncate_dim
            width, self.provider = min(self._encoder.width, kept or self._encoder.width), KERNEL
        on_gpu = self.provider == CUDA
        self._threads = 1 if on_gpu else threads or usable_processors()
        self._tokens_a_batch = TOKENS_PER_GPU_BATCH if on_gpu else TOKENS_PER_BATCH
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        if dimensions is not None and not 1 <= dimensions <= width:
            raise UserError(
                f"{folder}: cannot give {dimensions} dimensions; its vectors have {width}."
            )
        self.dimensions: int = dimensions or width

    def encode(
        self, texts: Sequence[str], kind: Kind = "passage", task: "Task | None" = None
    ) -> Vectors:
        """Embed `texts`, in order.

        Args:
            kind: Selects the prompt, if the model has prompts. The vectors of the last 1,024
                queries are cached.
            task: Advanced by one for each text.

        Returns:
            float32 of shape (len(texts), dimensions), each row of length 1.
        """
        prompt = self._folder.prompts.of(kind)
        if kind == "passage":
            return self._embed([prompt + text for text in texts], task)
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        fresh = dict(
            zip(missing, self._embed([prompt + text for text in missing], task), strict=True)
        )
        rows = [fresh[text] if text in fresh else self._cache[text] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > CACHED_QUERIES:
            self._cache.popitem(last=False)
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimensions)

    def reads(self, text: str) -> bool:
        """Whether the model's vocabulary reads a text (`readability.is_readable`)."""
        return is_readable(self._tokenizer, _valid(text))

    def _embed(self, texts: Sequence[str], task: "Task | None" = None) -> Vectors:
        tokens = self.tokenize(texts)
        vectors = np.empty((len(tokens), self.dimensions), dtype=np.float32)
        # The longest first: what is left at the end, while other cores have nothing to do, is short.
        batches = list(batches_by_length([len(ids) for ids in tokens], self._tokens_a_batch))[::-1]
        pool = ThreadPoolExecutor(self._threads) if len(batches) > 1 else None
        try:
            embed = pool.map if pool else map  # for one batch, another thread takes longer to start
            made = embed(lambda members: self._run([tokens[row] for row in members]), batches)
            for members, batch in zip(batches, made, strict=True):
                vectors[members] = batch
                if task is not None:
                    task.advance(len(members))
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
        return vectors

    def _run(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        vectors = self._encoder.encode(tokens) if self._encoder else self._run_session(tokens)
        if self.dimensions == vectors.shape[1]:
            return vectors
        cut = vectors[:, : self.dimensions]
        return cut / np.linalg.norm(cut, axis=1, keepdims=True)  # type: ignore[no-any-return]

    def _run_session(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        longest = max(len(ids) for ids in tokens)
        ids = np.full((len(tokens), longest), self._folder.pad_id, dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        (vectors,) = self._session.run(
            ["sentence_embedding"], {"input_ids": ids, "attention_mask": mask}
        )
        return vectors  # type: ignore[no-any-return]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, truncated to the model's limit, without padding."""
        tokens: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_PER_TOKENIZATION):
            part = [_valid(text) for text in texts[start : start + TEXTS_PER_TOKENIZATION]]
            tokens += [encoding.ids for encoding in self._tokenizer.encode_batch_fast(part)]
        return tokens


def batches_by_length(
    lengths: Sequence[int], budget: int = TOKENS_PER_BATCH
) -> Iterator[list[int]]:
    """Positions in batches of at most `budget` padded tokens, shortest texts first.

    A text longer than the budget is a batch of its own.
    """
    members: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if members and (len(members) + 1) * lengths[position] > budget:
            yield members
            members = []
        members.append(position)
    if members:
        yield members


def fingerprint(folder: Path, file: str = DEFAULT_FILE) -> str:
    """`Embedder(folder, file).fingerprint`, without loading the model.

    Raises:
        UserError: a file is missing or damaged.
    """
    return _fingerprint(read_model_folder(folder), verified_checksum(folder / file))


def index_fingerprint(folder: Path, file: str = DEFAULT_FILE) -> str:
    """The fingerprint of the embedder that an index must be stamped with to be searched with this.

    It is this embedder's own, unless only the encoding of queries was adapted: then passages.json
    in its folder states the fingerprint of the model that embeds passages.

    Raises:
        UserError: a file is missing or damaged, or this ONNX file has no counterpart.
    """
    if not (folder / PASSAGES_NAME).exists():
        return fingerprint(folder, file)
    fingerprint(folder, file)  # damaged files are found here as well
    stated = read_json(folder / PASSAGES_NAME).get("fingerprints", {})
    if file not in stated:
        raise UserError(f"{folder / PASSAGES_NAME}: does not list {file}. Export the model again.")
    return str(stated[file])


def passage_model(folder: Path) -> Path:
    """The model folder that embeds passages for queries by `folder`: usually the same."""
    if not (folder / PASSAGES_NAME).exists():
        return folder
    return (folder / str(read_json(folder / PASSAGES_NAME).get("model"))).resolve()


def _fingerprint(folder: ModelFolder, checksum: str, dimensions: int | None = None) -> str:
    sums = (folder.root / DEFAULT_FILE).with_name(CHECKSUMS_NAME)
    tokenizer = _verified(folder.root / TOKENIZER_NAME, sums, f"../{TOKENIZER_NAME}")
    recipe = [asdict(folder.prompts), asdict(folder.limits), folder.lower_case, folder.pad_id]
    parts: list[object] = [checksum, tokenizer, recipe]
    if dimensions is not None:
        parts.append(dimensions)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _vector_length(session: onnxruntime.InferenceSession, path: Path) -> int:
    inputs = {value.name for value in session.get_inputs()}
    outputs = {value.name: value.shape for value in session.get_outputs()}
    if inputs != {"input_ids", "attention_mask"} or "sentence_embedding" not in outputs:
        raise UserError(
            f"{path}: its graph has the inputs {sorted(inputs)} and the outputs {sorted(outputs)} instead of "
            "input_ids and attention_mask, and sentence_embedding. Export the model again."
        )
    return int(outputs["sentence_embedding"][-1])


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # The cores share out the batches: sharing out a batch's nodes makes them wait for each other.
    options.intra_op_num_threads = 1
    if CUDA in onnxruntime.get_available_providers() and INT8 not in path.name:
        onnxruntime.set_default_logger_severity(FATAL_ONLY)  # it would fill the screen
        try:
            with redirect_stdout(StringIO()):  # it prints what it can't find
                onnxruntime.preload_dlls()  # CUDA's libraries that pip installed
            session = onnxruntime.InferenceSession(
                path, options, providers=[CUDA, CPU], enable_fallback=False
            )
            if CUDA in session.get_providers():
                return session
            reason = "its libraries or the driver are missing, or there is no GPU"
        except Exception as error:  # ONNX Runtime has no common base class for its errors
            reason = _first_line(error)
        finally:
            onnxruntime.set_default_logger_severity(ERRORS_ONLY)
        log.warning("CUDA cannot be used (%s): embedding on the CPU.", reason)
    try:
        return onnxruntime.InferenceSession(path, options, providers=[CPU])
    except Exception as error:
        raise UserError(
            f"{path}: not a usable ONNX model ({_first_line(error)}). "
            "Copy it again from where it was exported, or export the model again."
        ) from error


def _read_tokenizer(folder: ModelFolder) -> Tokenizer:
    path = folder.root / TOKENIZER_NAME
    try:
        tokenizer = Tokenizer.from_file(str(_present(path)))
    except UserError:
        raise
    except Exception as error:  # tokenizers raises Exception itself
        raise UserError(
            f"{path}: damaged ({_first_line(error)}). Copy the model folder again."
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(folder.limits.max_tokens, direction=folder.limits.truncation_side)
    if folder.lower_case:
        lower_cased(tokenizer)
    return tokenizer


def data_file(path: Path) -> Path:
    """Where the weights of an ONNX file are if they are too large for the file itself."""
    return path.with_name(path.name + ".data")


def verified_checksum(path: Path) -> str:
    """The SHA-256 of an ONNX file, compared with the SHA256SUMS next to it if that lists the file.

    If its weights are in a file of their own, both are compared, and it is a hash of both checksums.
    """
    sums, data = path.with_name(CHECKSUMS_NAME), data_file(path)
    checksum = _verified(path, sums, path.name)
    if not data.exists() and not _is_listed(sums, data.name):
        return checksum
    return hashlib.sha256(f"{checksum} {_verified(data, sums, data.name)}".encode()).hexdigest()


def _verified(path: Path, sums: Path, listed_as: str) -> str:
    checksum = sha256_of(_present(path))
    if sums.exists():
        for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
            expected, _, name = line.partition("  ")
            if name == listed_as and expected != checksum:
                raise UserError(
                    f"{path}: damaged: its SHA-256 is not the one in {sums}. "
                    "Copy it again from where it was exported, or export the model again."
                )
    return checksum


def _is_listed(sums: Path, name: str) -> bool:
    lines = sums.read_text(encoding="utf-8", errors="replace") if sums.exists() else ""
    return any(line.partition("  ")[2] == name for line in lines.splitlines())


def _valid(text: str) -> str:
    """`text` with "?" for lone surrogates, which is what bad bytes on a command line become."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path}: missing. Is {path.parent} (part of) a model folder that CustomIR exported?"
        )
    return path


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
