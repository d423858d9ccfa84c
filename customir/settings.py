"""Every setting, typed and with its default; read from DIR/customir.toml, overridden by flags."""

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
    """A table of customir.toml. An unknown name in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Corpus(Section):
    """How documents are cut into passages and which passages count as the same."""

    passage_tokens: int = Field(200, ge=32, description="longest passage, in the embedder's tokens")
    overlap_tokens: int = Field(20, ge=0, description="of one passage repeated in the next")
    in_front: tuple[Literal["title", "sender", "date", "recipients"], ...] = Field(
        ("title",), description="what stands above a passage where it is embedded"
    )
    repeated_in: int = Field(
        20, ge=0, description="messages with the same last lines make these boilerplate; 0: none"
    )
    include_unwanted: bool = Field(
        False, description="read spam, trash, drafts and deleted mail, too"
    )
    columns: dict[
        Literal["text", "identifier", "title", "sender", "recipients", "date", "thread"], str
    ] = Field(default_factory=dict, description='the columns of tables by name, as text = "Inhalt"')
    ocr: bool = Field(
        False, description="recognise the text of scanned PDF pages, where tesseract is installed"
    )
    duplicate_similarity: float = Field(0.8, gt=0, le=1, description="Jaccard, of word 3-shingles")
    containment: float = Field(
        0.9, gt=0.5, le=1, description="a passage so far within another is its near-duplicate"
    )


class Synthesis(Section):
    """Which passages get queries, and how these are written."""

    passages: int = Field(600, ge=1, description="passages to write queries for")
    queries_per_passage: int = Field(4, ge=1, le=16)
    styles: tuple[Literal["keywords", "question", "need", "summary", "attribute"], ...] = Field(
        ("keywords", "question", "need", "summary", "attribute"),
        min_length=1,
        description="of the LLM's queries, in turns",
    )
    free: tuple[Literal["subject", "reply", "opening"], ...] = Field(
        ("subject", "reply", "opening"),
        description="pairs without an LLM: title and text, message and answer, first sentence and rest",
    )
    free_pairs: int = Field(
        4000,
        ge=2,
        description="of each kind at most, drawn at random; of openings half of it, or as many as "
        "subjects and replies where these are more: more take longer to train",
    )
    enough_free_pairs: int = Field(
        1000,
        ge=0,
        description="with so many to train on, the LLM writes for held-out threads alone, to decide",
    )
    replies: int = Field(3, ge=1, description="pairs of a message and its answer a thread")
    searchers: bool = Field(
        False, description="ask as searchers made of the corpus' topics; for larger LLMs"
    )
    temperature: float = Field(0.7, ge=0)
    max_tokens: int = Field(32, ge=4, le=512, description="longest query, in the LLM's tokens")
    round_trip_depth: int = Field(
        50, ge=1, description="the passage must be among this many hits of BM25 or the base"
    )


class Mining(Section):
    """Hard negatives: how many are looked at and how many are kept."""

    candidates: int = Field(
        0,
        ge=0,
        description="for a query that the LLM wrote to train on; 0: in-batch negatives alone, which "
        "measured as well",
    )
    sources: tuple[Literal["dense", "bm25"], ...] = Field(
        ("dense", "bm25"), min_length=1, description="whose best hits are candidates, in turns"
    )
    judged: bool = Field(True, description="the LLM judges candidates; false: all are negatives")
    negatives: int = Field(2, ge=0, description="kept a query, hardest first")
    skip_top: float = Field(
        0.95, gt=0, le=1, description="drop candidates above this share of the positive's score"
    )
    judge_auc: float = Field(
        0.75, ge=0.5, le=1, description="a judge below this area under the ROC curve is not used"
    )


class Training(Section):
    """The LoRA adapter and its contrastive training."""

    full: bool = Field(
        False,
        description="change every weight instead of a LoRA adapter; wants a low learning_rate",
    )
    query_only: bool = Field(
        False, description="adapt queries alone: passages keep the base's vectors"
    )
    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    top_layers: int = Field(
        0, ge=0, description="adapt this many from the top, run those below once a text; 0: all"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapter's input")
    learning_rate: float = Field(5e-4, gt=0, description="the highest, after the warm-up")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps")
    temperature: float = Field(0.05, gt=0)
    symmetric: bool = Field(True, description="contrast passages with queries too")
    margin: float = Field(
        2.0, ge=0, description="negatives closer than the positive by more than this are left out"
    )
    distillation: float = Field(
        0.0, ge=0, description="weight of the listwise KL to the teacher's scores; 0: off"
    )
    teacher: Literal["judge", "fusion", "larger"] = Field(
        "fusion",
        description="whose scores distillation learns: the judge's of what was mined, or those of "
        "the whole batch by BM25 and the base together, or by evaluation.larger",
    )
    anchor: float = Field(
        0.0, ge=0, description="weight of the squared distance to the base's vectors; 0: off"
    )
    teacher_temperature: float = Field(
        1.0, gt=0, description="in units of the spread of the teacher's scores within a list"
    )
    epochs: int = Field(3, ge=1)
    patience: int = Field(
        0, ge=0, description="stop after this many epochs without better Recall@10 on dev; 0: never"
    )
    batch: int = Field(128, ge=2, description="pairs in a batch, whatever the memory")
    tokens_per_pass: int = Field(0, ge=0, description="of a micro-batch; 0: by the device")
    tokens_kept: int = Field(
        0,
        ge=0,
        description="of a batch, whose graph is kept instead of made twice, or of more of them "
        "some results in its room; 0: by the device",
    )
    max_tokens: int = Field(256, ge=16, description="a text is cut there")
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class Evaluation(Section):
    """The held-out part and the gate."""

    held_out: float = Field(0.3, gt=0, lt=0.9, description="share of threads never trained on")
    alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.25, 0.5, 0.75, 1.0), description="shares of the adapter's weights that are candidates"
    )
    larger: str = Field(
        "mpnet", description="a larger embedder to compare with, where it is here; empty: none"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the paired bootstrap interval")
    resamples: int = Field(10_000, ge=1000)


class Export(Section):
    """Files that are written beside the ONNX in fp32 and INT8."""

    fp16: bool = Field(False, description="ONNX in half precision, for a GPU")
    gguf: bool = Field(False, description="GGUF in half precision, for llama.cpp")


class Settings(Section):
    """All that decides what `customir adapt` makes."""

    sources: tuple[str, ...] = ()
    embedder: str = Field("minilm", description="a name from `customir models list`, or a folder")
    llm: str = Field("qwen2.5-coder-0.5b", description="a name, or a GGUF file")
    llm_urls: tuple[str, ...] = Field(
        (), description="OpenAI-compatible servers that run the LLM instead of this machine"
    )
    device: Device = "auto"
    threads: int = Field(0, ge=0, description="for the LLM; 0: what a short trial finds fastest")
    seed: int = Field(0, ge=0, lt=2**63)
    corpus: Corpus = Corpus()
    synthesis: Synthesis = Synthesis()
    mining: Mining = Mining()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    export: Export = Export()


def read_settings(folder: Path, overrides: dict[str, Any]) -> Settings:
    """DIR/customir.toml where it exists, else the defaults, with `overrides` laid over.

    Args:
        folder: DIR.
        overrides: By dotted name ("synthesis.passages"); None means: not given.

    Raises:
        UserError: the file is no TOML, or a name or value in it is wrong; names the field.
    """
    path = folder / SETTINGS_NAME
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {error}. Mend the line or delete the file.") from error
    for name, value in overrides.items():
        if value is not None:
            section, _, field = name.rpartition(".")
            target = values.setdefault(section, {}) if section else values
            if isinstance(target, dict):  # else the validation below says what is wrong
                target[field] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise UserError(f"{path}: {problems}") from error


def require_own_settings(folder: Path) -> None:
    """Refuse settings that another user may have written.

    Raises:
        UserError: DIR or DIR/customir.toml belongs to another user, or others may write to it.
    """
    for path in (folder, folder / SETTINGS_NAME):
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise UserError(
                f"{path}: belongs to another user, who could choose in {SETTINGS_NAME} where text of "
                "the corpus is sent. Remove llm_urls from it, or make the folder your own."
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UserError(
                f"{path}: other users may write to it, and could choose in {SETTINGS_NAME} where text "
                f"of the corpus is sent. Check llm_urls there, then run: "
                f"chmod go-w {shlex.quote(str(path))}"
            )


def write_settings(folder: Path, settings: Settings) -> None:
    """Record every setting in force in DIR/customir.toml."""
    text = tomli_w.dumps(settings.model_dump(mode="json"))
    header = "# Every setting in force. Edit and run the command again; flags override.\n"
    write_atomically(folder / SETTINGS_NAME, (header + text).encode())


def llm_addresses(urls: Sequence[str]) -> list[tuple[str, int]]:
    """Host and port of each URL: what `block_network` is to allow.

    Raises:
        UserError: one is no http or https URL of a host.
    """
    found = []
    for url in urls:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise UserError(f"--llm-url {url}: not like http://host:8080")
        found.append((host, port))
    return found
