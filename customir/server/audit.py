"""The audit log: who asked when, and what was returned, without queries and texts.

docs/how-to/access.md describes its lines.
"""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from customir.errors import UserError
from customir.server.access_file import User
from customir.server.errors import Refused

MOST_BYTES = 64 << 20  # of a file; then it becomes FILE.1, and FILE.1 becomes FILE.2
KEPT_FILES = 10
RETURNED = "customir.returned"  # in the scope of a request, for the audit log

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Returned:
    """What an answer holds: keys of passages, and identifiers of documents, in its order."""

    passages: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


class AuditLog:
    """A file of JSON lines that several threads and processes append to, with rotation.

    Args:
        path: Created with mode 0600. `path`.lock beside it is locked while a line is written.

    Raises:
        UserError: the file can't be written, or others can read it.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES, kept: int = KEPT_FILES) -> None:
        self._path, self._most_bytes, self._kept = path, most_bytes, kept
        self._thread_lock = threading.Lock()
        try:
            with self._locked(), self._opened() as file:
                others = os.fstat(file).st_mode & 0o077
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}).") from error
        if others:
            raise UserError(f"{path}: others can read it. Run: chmod 600 {path}")

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line.

        Raises:
            OSError: it can't be written.
        """
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        with self._locked():
            with self._opened() as file:
                size = os.fstat(file).st_size
                if not size or size + len(line) <= self._most_bytes:
                    self._append(file, line)
                    return
            self._rotate()
            with self._opened() as file:
                self._append(file, line)

    def _append(self, file: int, line: bytes) -> None:
        written = os.write(file, line)
        if written < len(line):
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise OSError(f"{self._path}: the disk is full")

    def _rotate(self) -> None:
        names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._kept + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._thread_lock, _opened(Path(f"{self._path}.lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file unlocks it
            yield

    def _opened(self) -> Any:
        return _opened(self._path)


class Audited:
    """Writes a line for each request of a known user, before a byte of its answer is sent.

    If the line cannot be written, the answer is 503 instead.
    """

    def __init__(self, app: ASGIApp, audit: AuditLog, routes: frozenset[str]) -> None:
        self._app, self._audit, self._routes = app, audit, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User | None = scope["user"]
        if user is None:
            await self._app(scope, receive, send)
            return
        refused = False

        async def audited_send(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                entry = self._entry(scope, user, message["status"])
                try:
                    await asyncio.to_thread(self._audit.write, entry)
                except OSError as error:
                    log.error("the audit log cannot be written: %s", error)
                    refused = True
                    unavailable = Refused(
                        HTTPStatus.SERVICE_UNAVAILABLE, "The audit log cannot be written."
                    )
                    await unavailable.response()(scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, audited_send)

    def _entry(self, scope: Scope, user: User, status: int) -> dict[str, Any]:
        path = str(scope["path"]).removeprefix(scope["root_path"])
        returned: Returned = scope.get(RETURNED, Returned())
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": user.name,
            "address": scope["client"][0] if scope["client"] else "unix",
            "path": path if path in self._routes else "other",
            "status": status,
            "passages": returned.passages,
            "documents": returned.documents,
        }


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)
