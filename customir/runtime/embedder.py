"""The embedder of a model folder, on ONNX Runtime alone."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer  # type: ignore[import-untyped]

from customir.errors import UserError
from customir.files import sha256_of

if TYPE_CHECKING:
    from customir.progress import Task

Kind = Literal["query", "passage"]

DEFAULT_FILE = "onnx/model_qint8.onnx"
PROMPTS_NAME = "config_sentence_transformers.json"
CHECKSUMS_NAME = "SHA256SUMS"
# In a model folder that was adapted for queries alone: which model embeds passages.
PASSAGES_NAME = "passages.json"
# Padded tokens in a batch. More does not fit the caches; less leaves the cores waiting.
TOKENS_A_BATCH = 1024
TEXTS_A_TOKENIZATION = 1024
CACHED_QUERIES = 1024
# sentence-transformers calls a passage's prompt by either name.
PROMPT_NAMES: dict[Kind, tuple[str, ...]] = {
    "query": ("query",),
    "passage": ("passage", "document"),
}
OFFSET_POSITIONS = ("mpnet", "roberta", "xlm-roberta", "camembert")
ERRORS_ONLY = 3


class Embedder:
    """Turns texts into unit vectors, as sentence-transformers would with the same folder.

    With an INT8 file, a vector depends a little on the texts that share its batch: activations
    are quantised with one scale a batch. The same texts in one call give the same vectors.

    Args:
        folder: A sentence-transformers folder with an ONNX file that pools and normalises
            (`customir.exporters` makes it).
        file: Which ONNX file, relative to `folder`.
        threads: None: as many as ONNX Runtime thinks best.

    Attributes:
        dimensions: Length of a vector.
        fingerprint: Hash of all that decides a vector: what an index is stamped with.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """

    def __init__(self, folder: Path, file: str = DEFAULT_FILE, threads: int | None = None) -> None:
        self._recipe = _read_recipe(folder)
        self._tokenizer = _read_tokenizer(folder / "tokenizer.json", self._recipe["max_tokens"])
        path = folder / file
        checksum = _verified_checksum(path)
        self.fingerprint = _fingerprint(folder, checksum, self._recipe)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no common base class for its errors
            raise UserError(
                f"{path}: not a usable ONNX model ({_first_line(error)}). "
                "Copy it again from where it was exported, or export the model again."
            ) from error
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        if inputs != {"input_ids", "attention_mask"} or "sentence_embedding" not in outputs:
            raise UserError(
                f"{path}: its graph takes {sorted(inputs)} and gives {sorted(outputs)}; wanted are "
                "input_ids and attention_mask, and sentence_embedding. Export the model again."
            )
        self._cache: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self.dimensions: int = self._embed([""]).shape[1]

    def encode(
        self, texts: Sequence[str], kind: Kind = "passage", task: "Task | None" = None
    ) -> npt.NDArray[np.float32]:
        """Embed `texts`, in order.

        Args:
            kind: Decides the prompt, where the model has prompts; queries are also remembered,
                the last 1,024 of them.
            task: Advanced by one a text.

        Returns:
            float32 of shape (len(texts), dimensions), each row of length 1.
        """
        prompt = self._recipe["prompts"][kind]
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

    def _embed(self, texts: Sequence[str], task: "Task | None" = None) -> npt.NDArray[np.float32]:
        tokens = self._tokenize(texts)
        if not tokens:
            return np.empty((0, self.dimensions), dtype=np.float32)
        vectors: npt.NDArray[np.float32] | None = None
        for members in batches_by_length([len(ids) for ids in tokens]):
            longest = max(len(tokens[member]) for member in members)
            ids = np.full((len(members), longest), self._recipe["pad_id"], dtype=np.int64)
            mask = np.zeros((len(members), longest), dtype=np.int64)
            for row, member in enumerate(members):
                ids[row, : len(tokens[member])] = tokens[member]
                mask[row, : len(tokens[member])] = 1
            (batch,) = self._session.run(
                ["sentence_embedding"], {"input_ids": ids, "attention_mask": mask}
            )
            if vectors is None:
                vectors = np.empty((len(tokens), batch.shape[1]), dtype=np.float32)
            vectors[members] = batch
            if task is not None:
                task.advance(len(members))
        assert vectors is not None
        return vectors

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        tokens: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_A_TOKENIZATION):
            part = [_valid(text).strip() for text in texts[start : start + TEXTS_A_TOKENIZATION]]
            if self._recipe["lower_case"]:
                part = [text.lower() for text in part]
            tokens += [encoding.ids for encoding in self._tokenizer.encode_batch_fast(part)]
        return tokens


def batches_by_length(lengths: Sequence[int], budget: int = TOKENS_A_BATCH) -> Iterator[list[int]]:
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
    return _fingerprint(folder, _verified_checksum(folder / file), _read_recipe(folder))


def index_fingerprint(folder: Path, file: str = DEFAULT_FILE) -> str:
    """The fingerprint of the embedder that an index must be stamped with to be searched with this.

    That is this one's own, but where it was adapted for queries alone: then its passages.json
    states that of the model which embeds passages.

    Raises:
        UserError: a file is missing or damaged, or this ONNX file has no counterpart.
    """
    if not (folder / PASSAGES_NAME).exists():
        return fingerprint(folder, file)
    fingerprint(folder, file)  # damaged files are found here as well
    stated = _read_json(folder / PASSAGES_NAME).get("fingerprints", {})
    if file not in stated:
        raise UserError(f"{folder / PASSAGES_NAME}: nothing about {file}. Export the model again.")
    return str(stated[file])


def passage_model(folder: Path) -> Path:
    """The model folder that embeds passages for queries by `folder`: usually the same."""
    if not (folder / PASSAGES_NAME).exists():
        return folder
    return (folder / str(_read_json(folder / PASSAGES_NAME).get("model"))).resolve()


def _fingerprint(folder: Path, checksum: str, recipe: dict[str, Any]) -> str:
    parts = [checksum, sha256_of(_present(folder / "tokenizer.json")), recipe]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_recipe(folder: Path) -> dict[str, Any]:
    """What the folder's JSON files say about making the model's input."""
    sentence = _read_json(folder / "sentence_bert_config.json")
    model = _read_json(folder / "config.json")
    about = _read_json(folder / PROMPTS_NAME) if (folder / PROMPTS_NAME).exists() else {}
    prompts: dict[str, str] = about.get("prompts") or {}
    default = prompts.get(about.get("default_prompt_name") or "", "")
    chosen = {
        kind: next((prompts[name] for name in names if prompts.get(name)), default)
        for kind, names in PROMPT_NAMES.items()
    }
    positions = int(model.get("max_position_embeddings", 512))
    if model.get("model_type") in OFFSET_POSITIONS:
        positions -= 2  # their positions start behind the padding index
    return {
        "max_tokens": min(int(sentence.get("max_seq_length") or positions), positions),
        "lower_case": bool(sentence.get("do_lower_case", False)),
        "pad_id": model.get("pad_token_id") or 0,
        "prompts": chosen,
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_present(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}). Copy the model folder again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object. Copy the model folder again.")
    return content


def _read_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(_present(path)))
    except UserError:
        raise
    except Exception as error:  # tokenizers raises Exception itself
        raise UserError(
            f"{path}: damaged ({_first_line(error)}). Copy the model folder again."
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _verified_checksum(path: Path) -> str:
    """The SHA-256 of an ONNX file, compared with the SHA256SUMS beside it where that lists it."""
    checksum = sha256_of(_present(path))
    sums = path.with_name(CHECKSUMS_NAME)
    if sums.exists():
        for line in sums.read_text(encoding="utf-8").splitlines():
            expected, _, name = line.partition("  ")
            if name == path.name and expected != checksum:
                raise UserError(
                    f"{path}: damaged: its SHA-256 is not the one in {sums}. "
                    "Copy it again from where it was exported, or export the model again."
                )
    return checksum


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
