"""The text embedder: a sentence-transformers folder run with transformers, without padding waste."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from customir.errors import UserError
from customir.files import sha256_of
from customir.kernels import FastLinear
from customir.layers import can_pack, enter, run_layers
from customir.packing import Packed, TokenIds, fill_by_tokens, pack, rows_for
from customir.progress import Reporter, Silent

Kind = Literal["query", "passage"]
Pooling = Literal["mean", "cls", "lasttoken"]
Precision = Literal["fp32", "bf16"]

WEIGHTS_NAME = "model.safetensors"
TEXTS_AT_ONCE = 1024
# Of a micro-batch without gradients.
TOKENS_PER_PASS = {"cpu": 1024, "cuda": 32_768}
# sentence-transformers calls a passage's prompt by either name.
PROMPT_NAMES: dict[Kind, tuple[str, ...]] = {
    "query": ("query",),
    "passage": ("passage", "document"),
}
POOLING_FLAGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
}
MODULES = ("Transformer", "Pooling", "Normalize")


class Encoder:
    """Texts to L2-normalised vectors, as the sentence-transformers folder `folder` says.

    Attributes:
        model: The transformer, in evaluation mode (no dropout).
        pooling: How token vectors become one: their mean, the first one, or the last one.
        prompts: What is put before a query and before a passage; may be empty.
        max_tokens: A text is cut there, special tokens counted.
        precision: "bf16" runs matrix products in bfloat16 and keeps sums and vectors in float32.
    """

    def __init__(
        self,
        folder: Path,
        model: PreTrainedModel,
        tokenizer: Any,
        pooling: Pooling,
        prompts: dict[Kind, str],
        lower_case: bool,
        max_tokens: int,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.folder = folder
        self.model = model
        self.pooling = pooling
        self.prompts = prompts
        self.max_tokens = max_tokens
        self.precision = precision
        self.device = device
        self._tokenizer = tokenizer
        self._lower_case = lower_case

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        max_tokens: int | None = None,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        *,
        master_weights: bool = False,
    ) -> "Encoder":
        """Read a sentence-transformers folder. Nothing is fetched and no pickle is opened.

        Args:
            device: "cpu", "cuda", "cuda:1", or "auto": a GPU where there is one.
            max_tokens: Cut texts there; None, or more than the model can take: where it says.
            precision: "auto" is bf16 where the hardware multiplies it, else fp32.
            master_weights: Keep weights in float32 whatever the precision: they will change.

        Raises:
            UserError: the folder is not one, lacks a file, or asks for what is not supported.
        """
        modules = _modules(folder)
        transformer = folder / modules["Transformer"]
        if not (transformer / WEIGHTS_NAME).exists():
            raise UserError(
                f"{transformer}: no {WEIGHTS_NAME}. Only safetensors weights are loaded; "
                "convert the model first."
            )
        place = _device(device)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        chosen = (
            ("bf16" if _multiplies_bf16(place) else "fp32") if precision == "auto" else precision
        )
        model = AutoModel.from_pretrained(
            transformer, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        if hasattr(model, "pooler"):
            model.pooler = None  # a head that no sentence embedding uses
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
                if chosen == "bf16" and not master_weights:
                    module.to(torch.bfloat16)  # else each pass would make it anew
        tokenizer = AutoTokenizer.from_pretrained(transformer, local_files_only=True)
        about = _json(transformer / "sentence_bert_config.json")
        window = _window(model.config, about)
        return cls(
            folder=folder,
            model=model.eval().to(place),
            tokenizer=tokenizer,
            pooling=_pooling(folder / modules["Pooling"] / "config.json"),
            prompts=_prompts(folder / "config_sentence_transformers.json"),
            lower_case=bool(about.get("do_lower_case", False)),
            max_tokens=min(max_tokens or window, window),
            precision=chosen,
            device=place,
        )

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return int(self.model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides a vector: weights, vocabulary, pooling, prompts, window."""
        transformer = self.folder / _modules(self.folder)["Transformer"]
        files = [transformer / WEIGHTS_NAME, transformer / "config.json"]
        files += [path for path in [transformer / "tokenizer.json"] if path.exists()]
        parts = [
            *(sha256_of(path) for path in files),
            self.pooling,
            sorted(self.prompts.items()),
            self._lower_case,
            self.max_tokens,
            self.precision,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def tokenize(self, texts: Sequence[str], kind: Kind) -> list[np.ndarray]:
        """Token ids of each text with its prompt and special tokens, cut at `max_tokens`; int32."""
        cut = self._ids(texts, kind, truncation=True, max_length=self.max_tokens)
        return [np.array(ids, dtype=np.int32) for ids in cut]

    def count_truncated(self, texts: Sequence[str], kind: Kind) -> int:
        """How many of the texts `tokenize` cuts."""
        return sum(len(ids) > self.max_tokens for ids in self._ids(texts, kind))

    def _ids(self, texts: Sequence[str], kind: Kind, **cutting: Any) -> Iterator[list[int]]:
        """By some texts at a time: what a tokenizer gives takes many times the ids' memory."""
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            whole = [
                self.prompts[kind] + text.strip() for text in texts[start : start + TEXTS_AT_ONCE]
            ]
            if self._lower_case:
                whole = [text.lower() for text in whole]
            yield from self._tokenizer(
                whole,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                **cutting,
            )["input_ids"]

    @property
    def supports_packing(self) -> bool:
        """Whether texts are computed one after the other instead of padded side by side."""
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
        """Cut texts into micro-batches of at most `budget` tokens (or one longer text)."""
        return (fill_by_tokens if self.supports_packing else cut_by_tokens)(lengths, budget)

    def rows(self, lengths: Sequence[int]) -> int:
        """How many token positions a micro-batch of texts of these lengths is computed in."""
        return rows_for(sum(lengths)) if self.supports_packing else max(lengths) * len(lengths)

    def embed(self, tokens: Sequence[TokenIds]) -> Tensor:
        """One forward pass: vectors, float32, shape (len(tokens), dimensions), L2-normalised.

        Gradients flow where they are enabled. Memory is that of all tokens at once: see `cut`.
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
        """What layers take and give."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def pool(self, states: Tensor, packed: Packed) -> Tensor:
        """Token vectors (rows, dimensions) to normalised text vectors, float32."""
        states = states[: packed.tokens].float()
        ends = packed.lengths.cumsum(0)
        if self.pooling == "cls":
            pooled = states[ends - packed.lengths]
        elif self.pooling == "lasttoken":
            pooled = states[ends - 1]
        else:
            zeros = states.new_zeros(len(ends), states.shape[1])
            pooled = zeros.index_add(0, packed.text_of, states) / packed.lengths[:, None]
        return nn.functional.normalize(pooled, dim=-1)

    def _embed_padded(self, tokens: Sequence[TokenIds]) -> Tensor:
        """For model families that `customir.layers` does not know, by transformers itself."""
        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        ids = torch.full((len(tokens), longest), self._tokenizer.pad_token_id or 0)
        mask = torch.arange(longest)[None, :] < lengths[:, None]
        ids[mask] = torch.from_numpy(np.concatenate(tokens).astype(np.int64))
        with self.autocast():
            hidden = self.model(
                input_ids=ids.to(self.device), attention_mask=mask.long().to(self.device)
            ).last_hidden_state
        # The same rows as if they had been packed.
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

        The same texts in one call give the same bytes; a text's last bits depend on which others
        share its micro-batch.

        Returns:
            float32, shape (len(texts), dimensions), each row of length 1.
        """
        tokens = self.tokenize(texts, kind)
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        passes = self.cut([len(ids) for ids in tokens], self.mini_batch_num_tokens)
        with (reporter or Silent()).task(title, total=len(texts), unit="texts") as task:
            for members in passes:
                with torch.inference_mode():
                    part = self.embed([tokens[index] for index in members])
                vectors[members] = part.cpu().numpy()
                task.advance(len(members))
        return vectors


def cut_by_tokens(lengths: Sequence[int], budget: int, waste: float = 0.1) -> list[list[int]]:
    """Cut texts into micro-batches of like length, longest first.

    A micro-batch, padded to its longest text, holds at most `budget` tokens (a single text may be
    longer). One that is at least a quarter full is closed early rather than let padding exceed the
    share `waste` of it.

    Args:
        lengths: Tokens of each text.

    Returns:
        Positions in `lengths`, each once.
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
    """The name and the list of the transformer's layers (BERT and MPNet: encoder.layer)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return name, module
    raise ValueError(f"no list of {model.config.num_hidden_layers} layers in {type(model)}")


def _modules(folder: Path) -> dict[str, str]:
    """The subfolder of each module of a sentence-transformers folder, by the module's class."""
    path = folder / "modules.json"
    if not path.exists():
        raise UserError(f"{folder}: no modules.json, so no sentence-transformers model.")
    modules = {str(entry["type"]).rpartition(".")[2]: str(entry["path"]) for entry in _read(path)}
    unknown = sorted(set(modules) - set(MODULES))
    if unknown or not {"Transformer", "Pooling"} <= set(modules):
        raise UserError(
            f"{path}: modules {', '.join(modules)}; only Transformer, Pooling and Normalize "
            "are supported, and the first two are needed. Choose another model."
        )
    return modules


def _pooling(path: Path) -> Pooling:
    about = _json(path)
    chosen: list[str] = [name for name in about if name.startswith("pooling_mode_") and about[name]]
    if "pooling_mode" in about:
        chosen = [f"pooling_mode_{about['pooling_mode']}"]
    names = {**POOLING_FLAGS, **{f"pooling_mode_{mode}": mode for mode in POOLING_FLAGS.values()}}
    if len(chosen) != 1 or chosen[0] not in names:
        raise UserError(
            f"{path}: pooling {', '.join(chosen) or 'missing'}; mean, CLS and last token are "
            "supported. Choose another model."
        )
    if not about.get("include_prompt", True):
        raise UserError(f"{path}: include_prompt = false is not supported. Choose another model.")
    return names[chosen[0]]


def _prompts(path: Path) -> dict[Kind, str]:
    about = _json(path)
    prompts: dict[str, str] = about.get("prompts") or {}
    default = prompts.get(about.get("default_prompt_name") or "", "")
    return {
        kind: next((prompts[name] for name in names if prompts.get(name)), default)
        for kind, names in PROMPT_NAMES.items()
    }


def _window(config: Any, about: dict[str, Any]) -> int:
    """The longest text in tokens: what the folder says, at most what positions there are for."""
    positions = int(getattr(config, "max_position_embeddings", 512))
    if config.model_type in ("mpnet", "roberta", "xlm-roberta", "camembert"):
        positions -= 2  # their positions start behind the padding index
    return min(int(about.get("max_seq_length") or positions), positions)


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


def _json(path: Path) -> dict[str, Any]:
    return dict(_read(path)) if path.exists() else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}. The model folder is damaged; fetch it again.") from error
