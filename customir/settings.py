"""All settings with types, defaults and units, read from DIR/customir.toml and overridden by flags."""

import os
import shlex
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from customir.errors import UserError
from customir.files import write_atomically

SETTINGS_NAME = "customir.toml"
DEFAULT_PORTS = {"http": 80, "https": 443}

Device = Literal["auto", "cpu", "cuda"]


class Section(BaseModel):
    """A table of customir.toml, in which an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CorpusSettings(Section):
    """How documents are split into passages and which passages count as near-duplicates."""

    passage_tokens: int = Field(
        200, ge=32, description="Maximum length of a passage, in tokens of the embedder."
    )
    overlap_tokens: int = Field(
        20,
        ge=0,
        description="How many tokens at the end of a passage are repeated by the next one.",
    )
    passage_header: tuple[Literal["title", "sender", "date", "recipients"], ...] = Field(
        ("title",), description="Fields of the document that are embedded above each passage."
    )
    boilerplate_min_documents: int = Field(
        20,
        ge=0,
        description="Closing lines that this many messages share are removed as boilerplate; "
        "0: none are.",
    )
    duplicate_similarity: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Two passages are near-duplicates from this Jaccard similarity of their word "
        "3-shingles on.",
    )
    include_unwanted: bool = Field(
        False, description="Also read spam, trash, drafts and deleted mail."
    )
    columns: dict[
        Literal["text", "identifier", "title", "sender", "recipients", "date", "thread"], str
    ] = Field(
        default_factory=dict,
        description='Names of table columns by what they contain, for example text = "Inhalt".',
    )
    ocr: bool = Field(
        False, description="Recognise the text of scanned PDF pages, if tesseract is installed."
    )
    containment: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="A passage is also a near-duplicate of one that contains this share of its word "
        "3-shingles.",
    )


class QuerySettings(Section):
    """Queries for training and evaluation: from the corpus itself, and written by the LLM."""

    passages: int = Field(600, ge=1, description="How many passages the LLM writes queries for.")
    queries_per_passage: int = Field(
        4, ge=1, le=16, description="How many queries the LLM writes for each passage."
    )
    styles: tuple[Literal["keywords", "question", "need", "summary", "attribute"], ...] = Field(
        ("keywords", "question", "need", "summary", "attribute"),
        min_length=1,
        description="Styles of the LLM's queries, used in turn.",
    )
    self_supervised: tuple[Literal["subject", "reply", "ict"], ...] = Field(
        ("subject", "reply", "ict"),
        description="Kinds of pairs taken from the corpus without an LLM: subject and text, message "
        "and reply, first sentence and rest (inverse cloze task).",
    )
    max_self_supervised_pairs: int = Field(
        4000,
        ge=2,
        description="Maximum number of pairs of each kind, sampled at random. Inverse cloze pairs are limited to "
        "half of it, or to the number of subject and reply pairs if that is larger.",
    )
    sufficient_self_supervised_pairs: int = Field(
        1000,
        ge=0,
        description="With this many pairs to train on, the LLM writes queries for held-out threads only.",
    )
    replies_per_thread: int = Field(
        3, ge=1, description="Maximum number of pairs of a message and its reply from one thread."
    )
    temperature: float = Field(0.7, ge=0, description="Sampling temperature of the LLM.")
    max_tokens: int = Field(
        32, ge=4, le=512, description="Maximum length of a query, in tokens of the LLM."
    )
    round_trip_depth: int = Field(
        50,
        ge=1,
        description="A query is kept if its passage is among this many top results of BM25 or of the base.",
    )


class NegativeSettings(Section):
    """Hard negatives: how many candidates are mined, judged and kept."""

    candidates_per_query: int = Field(
        0,
        ge=0,
        description="How many candidates are mined for each query that the LLM wrote; 0: only in-batch "
        "negatives are used.",
    )
    candidate_sources: tuple[Literal["dense", "bm25"], ...] = Field(
        ("dense", "bm25"),
        min_length=1,
        description="Rankings from which candidates are taken in turn.",
    )
    use_judge: bool = Field(
        True, description="Let the LLM judge the candidates; if false, all of them are negatives."
    )
    negatives_per_query: int = Field(
        2,
        ge=0,
        description="How many hard negatives each query keeps, hardest first; of no effect while "
        "candidates_per_query is 0.",
    )
    relative_margin: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Drop candidates whose score is above (1 - relative_margin) times the "
        "positive's score.",
    )
    min_judge_auc: float = Field(
        0.75,
        ge=0.5,
        le=1,
        description="A judge with a smaller area under its ROC curve is not used.",
    )


class TrainingSettings(Section):
    """The LoRA adapter and its contrastive training."""

    full_fine_tuning: bool = Field(
        False,
        description="Train every weight instead of a LoRA adapter; needs a low learning_rate, such as 2e-5.",
    )
    freeze_passage_encoder: bool = Field(
        False, description="Adapt only the encoding of queries; passages keep the base's vectors."
    )
    lora_r: int = Field(16, ge=1, description="Rank of the LoRA adapter.")
    lora_alpha: int = Field(
        32, ge=1, description="Scale of the LoRA adapter, which is lora_alpha / lora_r."
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    trainable_layers: int = Field(
        0,
        ge=0,
        description="How many of the top layers are adapted; the layers below run only once for each "
        "text. 0: all layers.",
    )
    learning_rate: float = Field(
        5e-4, gt=0, description="Peak learning rate, reached after the warm-up."
    )
    warmup_ratio: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    temperature: float = Field(0.05, gt=0, description="Temperature of InfoNCE.")
    symmetric: bool = Field(
        True, description="Also contrast each passage with the queries of the batch."
    )
    absolute_margin: float | None = Field(
        None,
        ge=0,
        description="Ignore negatives whose cosine exceeds the positive's by more than this; unset: none "
        "is ignored.",
    )
    epochs: int = Field(3, ge=1, description="How often all training pairs are passed over.")
    early_stopping_patience: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs without a better Recall@10 on dev queries; 0: never.",
    )
    batch_size: int = Field(
        128,
        ge=2,
        description="Pairs in a batch; memory does not limit it, because gradients are cached.",
    )
    mini_batch_num_tokens: int = Field(
        0,
        ge=0,
        description="Tokens in a micro-batch of the gradient cache; 0: chosen for the device.",
    )
    cached_tokens: int = Field(
        0,
        ge=0,
        description="Tokens of a batch whose activations are cached for the backward pass instead of "
        "being computed twice; 0: chosen for the device.",
    )
    max_seq_length: int = Field(256, ge=16, description="Texts are truncated to this many tokens.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of matrix products; auto: bf16 if the processor supports it."
    )


class EvaluationSettings(Section):
    """Held-out threads, and the gate, which decides which model ships."""

    held_out_fraction: float = Field(
        0.3,
        gt=0,
        lt=0.9,
        description="Share of the threads that are held out and never trained on.",
    )
    interpolation_weights: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.25, 0.5, 0.75, 1.0),
        description="Weights of the adapter in the interpolations with the base (WiSE-FT) from which the "
        "gate chooses.",
    )
    reference_model: str = Field(
        "mpnet",
        description="A larger embedder to compare with, if it is installed; empty: none.",
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="Confidence level of the paired bootstrap intervals."
    )
    resamples: int = Field(10_000, ge=1000, description="How many bootstrap resamples.")


class ExportSettings(Section):
    """Files that are written in addition to the ONNX models in fp32 and INT8."""

    fp16: bool = Field(False, description="Also write ONNX in half precision, for a GPU.")
    gguf: bool = Field(False, description="Also write GGUF in half precision, for llama.cpp.")


class Settings(Section):
    """Everything that determines the result of `customir adapt`."""

    sources: tuple[str, ...] = Field((), description="Mailboxes, files and folders to read.")
    embedder: str = Field(
        "minilm",
        description="The base: a name from `customir models list`, or a sentence-transformers folder.",
    )
    truncate_dim: int | None = Field(
        None,
        ge=1,
        description="Use only this many of the first dimensions of the base's vectors, which makes the index "
        "smaller and costs little if the base was trained for it (Matryoshka); unset: as the base says.",
    )
    llm: str = Field(
        "qwen2.5-coder-0.5b",
        description="The LLM: a name from `customir models list`, or a GGUF file.",
    )
    llm_urls: tuple[str, ...] = Field(
        (), description="OpenAI-compatible servers that run the LLM instead of this machine."
    )
    device: Device = Field("auto", description="Where models run; auto: a GPU if there is one.")
    threads: int = Field(
        0, ge=0, description="Threads of the LLM; 0: the fastest in a short trial."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of all random choices.")
    corpus: CorpusSettings = CorpusSettings()
    queries: QuerySettings = QuerySettings()
    negatives: NegativeSettings = NegativeSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    export: ExportSettings = ExportSettings()


# Names that settings had before version 0.2.0; the error for one states the new name.
RENAMED = {
    "synthesis": "queries",
    "mining": "negatives",
    "corpus.in_front": "corpus.passage_header",
    "corpus.repeated_in": "corpus.boilerplate_min_documents",
    "queries.free": "queries.self_supervised",
    "queries.free_pairs": "queries.max_self_supervised_pairs",
    "queries.enough_free_pairs": "queries.sufficient_self_supervised_pairs",
    "queries.replies": "queries.replies_per_thread",
    "negatives.candidates": "negatives.candidates_per_query",
    "negatives.sources": "negatives.candidate_sources",
    "negatives.judged": "negatives.use_judge",
    "negatives.negatives": "negatives.negatives_per_query",
    "negatives.skip_top": "negatives.relative_margin (which is 1 - skip_top)",
    "negatives.judge_auc": "negatives.min_judge_auc",
    "training.full": "training.full_fine_tuning",
    "training.query_only": "training.freeze_passage_encoder",
    "training.rank": "training.lora_r",
    "training.alpha": "training.lora_alpha",
    "training.dropout": "training.lora_dropout",
    "training.top_layers": "training.trainable_layers",
    "training.warmup": "training.warmup_ratio",
    "training.margin": "training.absolute_margin (unset instead of 2.0)",
    "training.patience": "training.early_stopping_patience",
    "training.batch": "training.batch_size",
    "training.tokens_per_pass": "training.mini_batch_num_tokens",
    "training.tokens_kept": "training.cached_tokens",
    "training.max_tokens": "training.max_seq_length",
    "evaluation.held_out": "evaluation.held_out_fraction",
    "evaluation.alphas": "evaluation.interpolation_weights",
    "evaluation.larger": "evaluation.reference_model",
}


# Settings that no longer exist, with the reason.
REMOVED = {
    **dict.fromkeys(
        ("queries.personas", "queries.searchers"),
        "because LLMs wrote about the persona instead of the passage",
    ),
    **dict.fromkeys(
        (
            "training.distillation",
            "training.distillation_weight",
            "training.teacher",
            "training.teacher_temperature",
        ),
        "because no teacher gained anything over the training pairs",
    ),
    **dict.fromkeys(
        ("training.anchor", "training.embedding_regularization"),
        "because interpolation with the base does the same after training",
    ),
}


# Their defaults in version 0.2.0, which wrote all settings to the file. A removed setting that was
# never changed is left out, so that DIR can be used as it is.
REMOVED_DEFAULTS: dict[str, dict[str, object]] = {
    "queries": {"personas": False},
    "training": {
        "distillation_weight": 0.0,
        "teacher": "hybrid",
        "teacher_temperature": 1.0,
        "embedding_regularization": 0.0,
    },
}


def read_settings(folder: Path, overrides: dict[str, Any]) -> Settings:
    """Read DIR/customir.toml, or use the defaults if it does not exist, and apply `overrides`.

    Args:
        folder: DIR.
        overrides: Values by dotted name ("queries.passages"); None leaves a setting unchanged.

    Raises:
        UserError: the file is not valid TOML, or a name or value in it is wrong. It names the field.
    """
    path = folder / SETTINGS_NAME
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {error}. Correct the line or delete the file.") from error
    for name, defaults in REMOVED_DEFAULTS.items():
        if isinstance(section_values := values.get(name), dict):
            values[name] = {
                field: value
                for field, value in section_values.items()
                if field not in defaults or value != defaults[field]
            }
    for name, value in overrides.items():
        if value is not None:
            section, _, field = name.rpartition(".")
            target = values.setdefault(section, {}) if section else values
            if isinstance(target, dict):  # otherwise the validation below says what is wrong
                target[field] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            _describe(".".join(map(str, problem["loc"])), problem["msg"])
            for problem in error.errors()
        )
        raise UserError(f"{path}: {problems}") from error


def _describe(name: str, message: str) -> str:
    if name in REMOVED:
        return f"{name}: was removed, {REMOVED[name]}. Delete the line"
    if name in RENAMED:
        return f"{name}: is now called {RENAMED[name]}"
    return f"{name}: {message}"


def require_own_settings(folder: Path) -> None:
    """Refuse settings that another user may have written.

    Raises:
        UserError: DIR or DIR/customir.toml belongs to another user, or others may write to it.
    """
    for path in (folder, folder / SETTINGS_NAME):
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise UserError(
                f"{path}: belongs to another user, who could set in {SETTINGS_NAME} where text of the "
                "corpus is sent. Remove llm_urls from it, or make the folder your own."
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UserError(
                f"{path}: other users can write to it, and could set in {SETTINGS_NAME} where text of "
                f"the corpus is sent. Check llm_urls there, then run: "
                f"chmod go-w {shlex.quote(str(path))}"
            )


def write_settings(folder: Path, settings: Settings) -> None:
    """Write all settings to DIR/customir.toml."""
    text = tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
    header = "# All settings. Edit them and run the command again; flags override them.\n"
    write_atomically(folder / SETTINGS_NAME, (header + text).encode())


def llm_addresses(urls: Sequence[str]) -> list[tuple[str, int]]:
    """Host and port of each URL, which `block_network` is to allow.

    Raises:
        UserError: a URL is not an http or https URL with a host.
    """
    addresses = []
    for url in urls:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise UserError(f"--llm-url {url}: not a URL like http://host:8080.")
        addresses.append((host, port))
    return addresses
