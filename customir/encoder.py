"""The text embedder: a sentence-transformers folder run with transformers, without padding waste."""

import hashlib
import json
from collections.abc import Sequence
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
from customir.kernels import InferenceLinear
from customir.progress import Reporter, Silent

Kind = Literal["query", "passage"]
Pooling = Literal["mean", "cls", "lasttoken"]
Precision = Literal["fp32", "bf16"]

WEIGHTS_NAME = "model.safetensors"
TOKENS_PER_PASS = 1024
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
    ) -> "Encoder":
        """Read a sentence-transformers folder. Nothing is fetched and no pickle is opened.

        Args:
            device: "cpu", "cuda", "cuda:1", or "auto": a GPU where there is one.
            max_tokens: Cut texts there; None, or more than the model can take: where it says.
            precision: "auto" is bf16 where the hardware multiplies it, else fp32.

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
        # torch's own attention is slow on a CPU in bfloat16: six times in the backward pass.
        eager = place.type == "cpu" and chosen == "bf16"
        model = AutoModel.from_pretrained(
            transformer,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="eager" if eager else None,
        )
        if hasattr(model, "pooler"):
            model.pooler = None  # a head that no sentence embedding uses
        if eager and hasattr(model, "embeddings"):
            # The layers' inputs stay in bfloat16 then, instead of being cast for every product.
            model.embeddings.register_forward_hook(_in_bf16)
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = InferenceLinear
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

    def tokenize(self, texts: Sequence[str], kind: Kind) -> list[list[int]]:
        """Token ids of each text with its prompt and special tokens, cut at `max_tokens`."""
        if not texts:
            return []
        prompt = self.prompts[kind]
        whole = [prompt + text.strip() for text in texts]
        if self._lower_case:
            whole = [text.lower() for text in whole]
        encoded = self._tokenizer(
            whole,
            truncation=True,
            max_length=self.max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def embed(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """One forward pass: vectors, float32, shape (len(tokens), dimensions), L2-normalised.

        Gradients flow where they are enabled. The texts are padded to the longest of them: call
        this with texts of like length (see `cut_by_tokens`).
        """
        ids, mask = self.padded(tokens)
        with self.autocast():
            hidden = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.pool(hidden.float(), mask)

    def padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids, int64, padded on the right, and which are real, bool: both (texts, longest)."""
        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *([padding] * (longest - len(row)))] for row in tokens])
        mask = torch.arange(longest)[None, :] < lengths[:, None]
        return ids.to(self.device), mask.to(self.device)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Token vectors (texts, tokens, dimensions) to normalised text vectors; right-padded."""
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "lasttoken":
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(pooled, dim=-1)

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
        passes = cut_by_tokens([len(ids) for ids in tokens], TOKENS_PER_PASS)
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


def _in_bf16(module: nn.Module, inputs: Any, found: Tensor) -> Tensor:
    return found.to(torch.bfloat16)


def _json(path: Path) -> dict[str, Any]:
    return dict(_read(path)) if path.exists() else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}. The model folder is damaged; fetch it again.") from error
