"""`customir purge`: documents, and everything that was made from them, are deleted at once."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import getaddresses
from pathlib import Path

from customir.corpus.cleaning import clean_line
from customir.errors import UserError
from customir.files import sha256_of
from customir.runtime import generations
from customir.runtime.filters import period
from customir.runtime.index import purge_documents as purge_index
from customir.runtime.index_documents import is_removal_pending, read_document_rows
from customir.workspace import DATABASE_NAME, Workspace, workspace_lock
from customir.workspace.documents import DocumentHead, read_document_heads
from customir.workspace.purge import (
    count_trained_documents,
    finish_purge,
    purge_documents,
    purge_under_way,
)

# What the next `customir adapt` writes anew. It quotes documents or learned from them.
DERIVED = (
    "report.md",
    "report.html",
    "check",
    "training",
    "candidates-*",
    "*.part",
    ".*.part",
    "etilqs_*",
)
# What else has to go so that only the model is left.
ALL_BUT_MODEL = (*DERIVED, f"{DATABASE_NAME}*", "customir.toml", "base", "engines")
CHECKSUMS = "onnx/SHA256SUMS"
LIMITS = (
    "Solid-state disks, snapshots and backups may keep old blocks, which no program can reach.",
    "Replies that quote a purged document keep the quote, because it is part of their own text.",
    "Backups of DIR, and the audit log of `customir serve`, are not changed.",
    "The sources are not changed. A purged document that is still in them is left out when they are "
    "read again.",
)


@dataclass(frozen=True)
class Selection:
    """Which documents are purged: those that fulfil every condition that is given.

    Attributes:
        messages: Identifiers, as `customir search` prints them; a Message-ID may lack its brackets.
            The attachments of a message are selected with it.
        senders: Addresses, or whole names where a source has no addresses; any case.
        before: A date as `period` reads it; documents from before its beginning. Documents without
            a date do not fulfil it.
    """

    messages: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    before: str | None = None

    def select(self, documents: Iterable[DocumentHead]) -> list[DocumentHead]:
        """The documents that fulfil every condition, ordered by key.

        Raises:
            UserError: there is no condition, or `before` is not a date.
        """
        if not (self.messages or self.senders or self.before):
            raise UserError(
                "Nothing is selected. Give --message, --sender or --before, or --all-but-model."
            )
        messages = [clean_line(each) for each in self.messages]  # as identifiers are stored
        names = {name for each in messages for name in (each, f"<{each}>")}
        senders = {sender.casefold() for sender in self.senders}
        start = period(self.before)[0] if self.before else None
        return sorted(
            (
                each
                for each in documents
                if (not names or each.identifier.partition(" / ")[0] in names
                    or each.identifier in names)
                and (not senders or not senders.isdisjoint(_senders_of(each)))
                and (start is None or _is_before(each, start))
            ),
            key=lambda each: each.key,
        )  # fmt: skip


@dataclass(frozen=True)
class LearnedModel:
    """A model that is in DIR and remembers what it was trained on.

    Attributes:
        sha256: Of its onnx/SHA256SUMS, by which copies of it elsewhere are recognised.
        documents: How many of the purged documents it was trained on; None if DIR no longer says.
    """

    folder: str
    sha256: str
    documents: int | None


@dataclass(frozen=True)
class Purged:
    """What was purged.

    Attributes:
        documents: How many.
        learned: The models that may have learned from them.
        complete: False if another process still reads bytes of them; run it again later.
    """

    documents: int
    learned: tuple[LearnedModel, ...]
    complete: bool


def find_documents(folder: Path, selection: Selection) -> list[DocumentHead]:
    """The selected documents in DIR's workspace and in all of its indexes.

    Raises:
        UserError: DIR has neither, or one of them cannot be read.
    """
    with _workspace_of(folder) as workspace:
        return _find(folder, workspace, selection)


def is_unfinished(folder: Path) -> bool:
    """Whether an earlier purge was stopped before its end."""
    with _workspace_of(folder) as workspace:
        return _is_unfinished(folder, workspace)


def purge(folder: Path, selection: Selection) -> Purged:
    """Delete the selected documents from DIR, and everything that was made from them.

    Killed anywhere and run again, it ends as if it had not been killed.

    Raises:
        UserError: nothing is selected or DIR is in use by a writer.
    """
    with _workspace_of(folder) as workspace:
        documents = _find(folder, workspace, selection)
        if not documents and not _is_unfinished(folder, workspace):
            return Purged(0, (), True)
        learned = _learned(folder, workspace, documents)
        if workspace:
            purge_documents(workspace, documents)
        _delete(folder, DERIVED)
        generations.drop_all_but_current(folder)
        index = generations.current(folder) / generations.INDEX_NAME
        complete = True
        if index.exists():
            purge_index(index, [document.key for document in documents])
            complete = not is_removal_pending(index)
        if workspace and complete:
            complete = finish_purge(workspace)
        return Purged(len(documents), learned, complete)


def purge_all_but_model(folder: Path) -> Purged:
    """Delete everything in DIR except the model that is current.

    Raises:
        UserError: DIR is in use by a writer.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    with workspace_lock(folder):
        learned = _models(folder, None)
        _delete(folder, ALL_BUT_MODEL)
        generations.drop_all_but_current(folder)
        with generations.writer_lock(folder):
            _delete(generations.current(folder), ("index.*",))
            _delete(folder, ("index.db*", "index.vectors", "index.plan"))
    return Purged(0, learned, True)


def _find(folder: Path, workspace: Workspace | None, selection: Selection) -> list[DocumentHead]:
    found = {
        each.key: each
        for each in selection.select(read_document_heads(workspace) if workspace else ())
    }
    current = generations.current(folder) / generations.INDEX_NAME
    rows = read_document_rows(current) if current.exists() else set()
    for other in (generations.previous(folder), generations.unfinished(folder)):
        if other and (path := other / generations.INDEX_NAME).exists():
            try:
                rows |= read_document_rows(path)
            except UserError:
                continue  # half written: it goes if anything is purged
    found |= {each.key: each for each in selection.select(DocumentHead(*row) for row in rows)}
    return [found[key] for key in sorted(found)]


def _is_unfinished(folder: Path, workspace: Workspace | None) -> bool:
    if workspace:
        return purge_under_way(workspace)
    index = generations.current(folder) / generations.INDEX_NAME
    return index.exists() and is_removal_pending(index)


@contextmanager
def _workspace_of(folder: Path) -> Iterator[Workspace | None]:
    """DIR's workspace for writing; None if DIR has only an index."""
    if (folder / DATABASE_NAME).exists():
        with Workspace(folder) as workspace:
            yield workspace
        return
    if not (generations.current(folder) / generations.INDEX_NAME).exists():
        raise UserError(
            f"{folder}: it has no workspace and no index, so there is nothing to purge."
        )
    with workspace_lock(folder):
        yield None


def _learned(
    folder: Path, workspace: Workspace | None, documents: list[DocumentHead]
) -> tuple[LearnedModel, ...]:
    """The current model, unless it is the base or was trained on none of these documents."""
    evaluated = workspace.stage("evaluate") if workspace else None
    if workspace is None or evaluated is None or not evaluated.finished:
        return _models(folder, None)
    if not evaluated.detail["weight"]:
        return ()
    trained = count_trained_documents(workspace, [document.key for document in documents])
    return _models(folder, trained) if trained else ()


def _models(folder: Path, documents: int | None) -> tuple[LearnedModel, ...]:
    model = generations.current(folder) / generations.MODEL_NAME
    sums = model / CHECKSUMS
    return (LearnedModel(str(model), sha256_of(sums), documents),) if sums.exists() else ()


def _delete(folder: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _senders_of(document: DocumentHead) -> set[str]:
    addresses = {address for _, address in getaddresses([document.sender])}
    return {sender.casefold() for sender in (*addresses, document.sender)}


def _is_before(document: DocumentHead, start: float) -> bool:
    return document.date is not None and datetime.fromisoformat(document.date).timestamp() < start
