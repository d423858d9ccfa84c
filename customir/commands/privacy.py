"""`customir privacy`: which files and tables of DIR hold text of the corpus, or what was made from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from customir.errors import UserError
from customir.job import CHECK_NAME
from customir.runtime.generations import INDEX_NAME
from customir.runtime.index_documents import count_rows as count_index_rows
from customir.workspace import DATABASE_NAME, Workspace
from customir.workspace.upkeep import count_rows as count_workspace_rows


class Content(StrEnum):
    """What a file or table holds. A text can be guessed, in part, from what was derived from it."""

    TEXT = "text of the corpus"
    DERIVED = "derived from the corpus"
    NONE = "nothing of the corpus"
    UNKNOWN = "unknown: CustomIR did not write it"


@dataclass(frozen=True)
class Kind:
    """Files or tables of one kind. The whole path in DIR, or the table's name, matches `pattern`."""

    pattern: str
    content: Content
    what: str


@dataclass(frozen=True)
class Entry:
    """A file or table of DIR.

    Attributes:
        path: Below DIR.
        table: Of the database in `path`; None for the file as a whole.
        size: Bytes of a file, rows of a table.
    """

    path: str
    table: str | None
    size: int
    content: Content
    what: str


_TEXT, _DERIVED, _NONE = Content.TEXT, Content.DERIVED, Content.NONE
_PLACE = r"(?:generations/\d{6}/)?"  # a generation, or DIR itself if it has none
_BESIDE = r"(?:-wal|-shm|-journal)?"

# The first one that matches counts.
FILES = (
    Kind(r"customir\.toml", _NONE, "settings; they name the paths of the sources"),
    Kind(
        rf"(?:check/)?workspace\.db{_BESIDE}", _TEXT, "the workspace; its tables are listed below"
    ),
    Kind(r"(?:check/)?workspace\.lock|index\.lock", _NONE, "lock"),
    Kind(r"report\.(?:md|html)", _TEXT, "report: searches, samples of queries, what was skipped"),
    Kind(r"generations/current\.json", _NONE, "the name of the current generation"),
    Kind(rf"{_PLACE}index\.db{_BESIDE}", _TEXT, "the index; its tables are listed below"),
    Kind(rf"{_PLACE}index\.vectors", _DERIVED, "cache of the index's vectors"),
    Kind(rf"{_PLACE}index\.plan", _NONE, "hash of the passages that are being indexed"),
    Kind(rf"{_PLACE}model/README\.md", _DERIVED, "model card: figures, no text"),
    Kind(
        rf"{_PLACE}(?:passage-)?model/.*\.(?:safetensors|onnx|onnx\.data|gguf)",
        _DERIVED,
        "model: weights that learned from the corpus, unless the base ships",
    ),
    Kind(rf"{_PLACE}(?:passage-)?model/.*", _NONE, "model: files of the base, and checksums"),
    Kind(r"engines/.*", _DERIVED, "the model for other engines"),
    Kind(r"base/.*", _NONE, "the base with fewer dimensions: links and its configuration"),
    Kind(r"training/.*", _DERIVED, "adapter and checkpoint: weights that learned from the corpus"),
    Kind(r"candidates-[^/]*/.*", _DERIVED, "models that a stopped evaluation left"),
    Kind(r"(?:check/)?etilqs_\w+", _TEXT, "temporary file of SQLite"),
    Kind(r"(?:.*/)?[^/]*\.part(?:/.*)?", _TEXT, "unfinished file, which a stopped command left"),
)
WORKSPACE_TABLES = (
    Kind("document", _TEXT, "documents: names, dates, senders, recipients, cleaned text"),
    Kind("original", _TEXT, "documents as they were read, before cleaning"),
    Kind("passage", _TEXT, "passages"),
    Kind("query", _TEXT, "queries: written by the LLM, or taken from messages"),
    Kind("negative", _DERIVED, "hard negatives and the judge's scores"),
    Kind("result", _TEXT, "what models made: queries, names of topics, judgments, embeddings"),
    Kind("skipped", _TEXT, "names of what was not kept, with the reason"),
    Kind("stage", _TEXT, "summaries of stages, with samples for the report"),
    Kind("work|used|removal", _NONE, "progress: counts and hashes"),
    Kind("purged", _DERIVED, "hashes of purged documents, which keep them out"),
)
INDEX_TABLES = (
    Kind("generation|removal|sqlite_sequence", _NONE, "the state of the index"),
    Kind(r"passage_\d+", _TEXT, "passages, with names, dates, senders and recipients"),
    Kind(r"words_\d+(?:_\w+)?", _TEXT, "words of the passages (FTS5)"),
    Kind(r"vector_\d+(?:_\w+)?", _DERIVED, "vectors of the passages (sqlite-vec)"),
)


def list_contents(folder: Path) -> list[Entry]:
    """Every file and table of DIR and what it holds, ordered by path. Links are not followed.

    Raises:
        UserError: DIR does not exist, or one of its databases cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    entries: list[Entry] = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        entries.append(_entry(FILES, name, None, path.stat().st_size))
        entries += _tables(path, name)
    return entries


def _tables(path: Path, name: str) -> Iterator[Entry]:
    """The tables of one of DIR's databases; none for other files."""
    kinds: tuple[Kind, ...]
    rows: Mapping[str, int]
    if name in (DATABASE_NAME, f"{CHECK_NAME}/{DATABASE_NAME}"):
        kinds = WORKSPACE_TABLES
        with Workspace(path.parent, write=False, older=True) as workspace:
            rows = count_workspace_rows(workspace)
    elif path.name == INDEX_NAME:
        kinds, rows = INDEX_TABLES, count_index_rows(path)
    else:
        return
    for table, count in rows.items():
        yield _entry(kinds, name, table, count)


def _entry(kinds: tuple[Kind, ...], path: str, table: str | None, size: int) -> Entry:
    for kind in kinds:
        if re.fullmatch(kind.pattern, table or path, re.DOTALL):
            return Entry(path, table, size, kind.content, kind.what)
    return Entry(path, table, size, Content.UNKNOWN, "")
