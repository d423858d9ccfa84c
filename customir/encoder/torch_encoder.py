"""The text embedder: runs a sentence-transformers folder with transformers, with little padding."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from customir.encoder.folder import (
    CONFIG_NAME,
    Kind,
    ModelFolder,
    read_model_folder,
    refuse_static,
    weight_files,
)
from customir.encoder.layers import can_pack, enter, run_layers
from customir.encoder.packing import Packed, TokenIds, fill_by_tokens, pack, rows_for
from customir.encoder.pooling import Head, load_head, pool
from customir.encoder.tokenizer import lower_cased
from customir.errors import UserError
from customir.files import sha256_of
from customir.kernels.lora_linear import FastLinear, limit_onednn_cache
from customir.progress import Reporter, Silent

Precision = Literal["fp32", "bf16"]
T = TypeVar("T")
U = TypeVar("U")

TEXTS_AT_ONCE = 1024
# Tokens of a micro-batch without gradients.
TOKENS_PER_PASS = {"cpu": 1024, "cuda": 32_768}


class Encoder:
    """Maps texts to L2-normalised vectors with the model of a sentence-transformers folder.

    Attributes:
        folder: The contents of the folder's JSON files.
        model: The transformer, in evaluation mode (no dropout).
        max_tokens: A text is truncated to this many tokens, including special tokens.
        precision: "bf16" runs matrix products in bfloat16 and keeps sums and vectors in float32.
    """

    def __init__(
        self,
        folder: ModelFolder,
        model: PreTrainedModel,
        head: Head,
        tokenizer: Any,
        max_tokens: int,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.folder = folder
        self.model = model
        self.max_tokens = max_tokens
        self.precision = precision
        self.device = device
        self._head = head
        self._tokenizer = tokenizer

    @classmethod
    def load(
        cls,
        root: Path,
        device: str = "cpu",
        max_tokens: int | None = None,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        *,
        master_weights: bool = False,
    ) -> "Encoder":
        """Read a sentence-transformers folder. Nothing is downloaded and no pickle is opened.

        Args:
            device: "cpu", "cuda", "cuda:1", or "auto", which uses a GPU if one is available.
            max_tokens: Truncate texts to this many tokens. If it is None or exceeds the folder's
                limit, that limit is used.
            precision: "auto" is bf16 if the hardware can multiply it, or else fp32.
            master_weights: Keep weights in float32 for every precision, because they will be
                trained.

        Raises:
            UserError: the folder is not such a folder, lacks a file, or needs a feature that is
                not supported.
        """
        folder = read_model_folder(root)
        place = _device(device)
        chosen = (
            ("bf16" if _multiplies_bf16(place) else "fp32") if precision == "auto" else precision
        )
        model = load_transformer(folder)
        limit_onednn_cache()
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
                if chosen == "bf16" and not master_weights:
                    module.to(torch.bfloat16)  # otherwise each pass would convert it again
        window = folder.limits.max_tokens
        return cls(
            folder=folder,
            model=model.eval().to(place),
            head=load_head(folder, int(model.config.hidden_size)).to(place),
            tokenizer=load_tokenizer(folder),
            max_tokens=min(max_tokens or window, window),
            precision=chosen,
            device=place,
        )

    @property
    def dimensions(self) -> int:
        """The length of a text vector."""
        return self._head.dimensions

    @property
    def width(self) -> int:
        """The length of a token vector between the transformer's layers."""
        return int(self.model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that affects a vector: weights, vocabulary, pooling, prompts, window."""
        folder = self.folder
        files = [*weight_files(folder), folder.transformer / CONFIG_NAME]
        files += sorted(folder.transformer.glob("tokenizer.json"))
        for module in folder.head:
            files += sorted(module.path.glob("*.safetensors"))
        parts = [
            *(sha256_of(path) for path in files),
            folder.pooling.modes,
            [(module.kind, module.activation) for module in folder.head],
            folder.truncate_dim,
            [folder.prompts.query, folder.prompts.passage],
            folder.lower_case,
            self.max_tokens,
            self.precision,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def tokenize(self, texts: Sequence[str], kind: Kind) -> list[np.ndarray]:
        """The token ids, int32, of each text with its prompt and special tokens.

        They are truncated to `max_tokens`.
        """
        cut = self._ids(texts, kind, truncation=True, max_length=self.max_tokens)
        return [np.array(ids, dtype=np.int32) for ids in cut]

    def count_truncated(self, texts: Sequence[str], kind: Kind) -> int:
        """How many of the texts `tokenize` truncates."""
        return sum(len(ids) > self.max_tokens for ids in self._ids(texts, kind))

    def _ids(self, texts: Sequence[str], kind: Kind, **cutting: Any) -> Iterator[list[int]]:
        """Tokenise in chunks, because a tokenizer's output is many times as large as the ids."""
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            yield from self._tokenizer(
                [
                    self.folder.prompts.of(kind) + text
                    for text in texts[start : start + TEXTS_AT_ONCE]
                ],
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                **cutting,
            )["input_ids"]

    @property
    def supports_packing(self) -> bool:
        """Whether the texts of a micro-batch are packed instead of padded to the same length."""
        return can_pack(self.model)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers."""
        return encoder_layers(self.model)[1]

    @property
    def mini_batch_num_tokens(self) -> int:
        """How many tokens a micro-batch without gradients should hold on this device."""
        return TOKENS_PER_PASS[self.device.type]

    def cut(self, lengths: Sequence[int], budget: int) -> list[list[int]]:
        """Divide texts into micro-batches of at most `budget` tokens (or one longer text)."""
        return (fill_by_tokens if self.supports_packing else cut_by_tokens)(lengths, budget)

    def rows(self, lengths: Sequence[int]) -> int:
        """How many token positions are computed for a micro-batch of texts of these lengths."""
        return rows_for(sum(lengths)) if self.supports_packing else max(lengths) * len(lengths)

    def embed(self, tokens: Sequence[TokenIds]) -> Tensor:
        """One forward pass: vectors, float32, shape (len(tokens), dimensions), L2-normalised.

        Gradients flow if they are enabled. All tokens are in memory at once; see `cut`.
        """
        if not self.supports_packing:
            return self._embed_padded(tokens)
        packed = pack(tokens, self.device)
        return self.pool(self.run(self.enter(packed), packed, self.layers), packed)

    def enter(self, packed: Packed) -> Tensor:
        """The first layer's input, shape (rows, dimensions), in this encoder's precision."""
        return enter(self.model, packed, self.dtype)

    def run(self, states: Tensor, packed: Packed, layers: Iterable[nn.Module]) -> Tensor:
        """The output of these consecutive layers, shape (rows, dimensions)."""
        return run_layers(self.model, layers, states, packed)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the layers' inputs and outputs."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def pool(self, states: Tensor, packed: Packed) -> Tensor:
        """Pool token vectors, (rows, dimensions), to normalised text vectors, float32."""
        vectors = self._head(pool(states[: packed.tokens].float(), packed, self.folder.pooling))
        return nn.functional.normalize(vectors, dim=-1)

    def _embed_padded(self, tokens: Sequence[TokenIds]) -> Tensor:
        """Embed with transformers itself, for families that encoder/layers.py does not support."""
        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        ids = torch.full((len(tokens), longest), self._tokenizer.pad_token_id or 0)
        mask = torch.arange(longest)[None, :] < lengths[:, None]
        ids[mask] = torch.from_numpy(np.concatenate(tokens).astype(np.int64))
        with self.autocast():
            hidden = self.model(
                input_ids=ids.to(self.device), attention_mask=mask.long().to(self.device)
            ).last_hidden_state
        # These are the same rows as in a packed micro-batch.
        packed = pack(tokens, self.device)
        return self.pool(hidden[mask.to(self.device)], packed)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context that runs matrix products in this encoder's precision."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind = "passage",
        reporter: Reporter | None = None,
        title: str = "Embedding",
    ) -> np.ndarray:
        """The vectors of `texts`, in their order.

        The same texts in one call give the same bytes. The last bits of a vector depend on the
        other texts in the micro-batch.

        Returns:
            float32, shape (len(texts), dimensions), each row of length 1.
        """
        tokens = self.tokenize(texts, kind)
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        passes = self.cut([len(ids) for ids in tokens], self.mini_batch_num_tokens)

        def forward(members: Sequence[int]) -> np.ndarray:
            with torch.inference_mode():
                return self.embed([tokens[index] for index in members]).cpu().numpy()

        with (
            (reporter or Silent()).task(title, total=len(texts), unit="texts") as task,
            _micro_batch_on_each_core(self.device) as run,
        ):
            for members, part in zip(passes, run(forward, passes), strict=True):
                vectors[members] = part
                task.advance(len(members))
        return vectors


@contextmanager
def _micro_batch_on_each_core(
    device: torch.device,
) -> Iterator[Callable[[Callable[[T], U], Iterable[T]], Iterator[U]]]:
    """A `map` that runs each call on one CPU core.

    Cores that share a micro-batch would wait for each other in every operation of every layer.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def cut_by_tokens(lengths: Sequence[int], budget: int, waste: float = 0.1) -> list[list[int]]:
    """Divide texts into micro-batches of similar length, longest first.

    A micro-batch, padded to its longest text, has at most `budget` tokens (a single text may be
    longer). One that is at least a quarter full is closed early if padding would otherwise exceed
    the share `waste` of it.

    Args:
        lengths: Number of tokens of each text.

    Returns:
        Indices into `lengths`; each index occurs once.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    passes: list[list[int]] = []
    members: list[int] = []
    real = 0
    for index in order:
        if members:
            padded = lengths[members[0]] * (len(members) + 1)
            wasteful = 4 * padded > budget and real + lengths[index] < (1 - waste) * padded
            if padded > budget or wasteful:
                passes.append(members)
                members, real = [], 0
        members.append(index)
        real += lengths[index]
    if members:
        passes.append(members)
    return passes


def encoder_layers(model: Any) -> tuple[str, nn.ModuleList]:
    """The name and the list of the transformer's layers (BERT and MPNet: encoder.layer).

    Raises:
        UserError: the model has no such list. An example is ALBERT, whose layers share weights.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return name, module
    raise UserError(
        f"{model.name_or_path}: a {type(model).__name__}, which has no list of layers of their own; "
        "it can be neither adapted nor exported. Choose another model."
    )


def load_transformer(folder: ModelFolder) -> Any:
    """The folder's transformer in float32, without the pooler, which no sentence embedding uses.

    Raises:
        UserError: transformers cannot load it, or weights are missing and would be random.
    """
    refuse_static(folder)
    weight_files(folder)  # raises clearer errors about the weights than transformers
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, loaded = AutoModel.from_pretrained(
            folder.transformer,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise UserError(
            f"{folder.transformer}: transformers cannot load it "
            f"({str(error).partition(chr(10))[0][:300]}). Choose another model."
        ) from error
    if hasattr(model, "pooler"):
        model.pooler = None
    encoder_layers(model)  # refuses an unsupported family now instead of after an hour of work
    missing = sorted(set(loaded["missing_keys"]) & set(model.state_dict()))
    if missing:
        raise UserError(
            f"{folder.transformer}: its weights lack {missing[0]}, and {len(missing)} in all. "
            "Copy the model folder again, or choose another model."
        )
    return model


def load_tokenizer(folder: ModelFolder) -> Any:
    """The folder's tokenizer, configured as in sentence-transformers.

    Raises:
        UserError: there is no tokenizer, or transformers has no fast one for it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder.transformer, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises Exception itself
        raise UserError(
            f"{folder.transformer}: transformers cannot load its tokenizer "
            f"({str(error).partition(chr(10))[0][:300]}). Choose another model."
        ) from error
    if not tokenizer.is_fast:
        raise UserError(
            f"{folder.transformer}: its tokenizer, {type(tokenizer).__name__}, has no tokenizer.json "
            "and cannot be converted to one. Choose another model."
        )
    if folder.lower_case:
        lower_cased(tokenizer.backend_tokenizer)
    return tokenizer


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda: no usable GPU. Choose cpu or auto.")
    return torch.device(name)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())
