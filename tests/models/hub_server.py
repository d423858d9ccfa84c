"""A model hub on loopback: the part of the hub's HTTP API that its client uses for downloads."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """What the hub has, and what it was asked for.

    Attributes:
        repositories: By repository, by revision (a commit or a branch): its commit and its files.
        stated_sha256: By path: what the hub states instead of the true checksum.
        gated: Repositories whose licence has to be accepted.
        cut_after: Bytes of a file after which the connection ends; None: it does not.
        requests: Method, path and Range of each request.
    """

    repositories: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = field(default_factory=dict)
    stated_sha256: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cut_after: int | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def publish(self, repository: str, files: dict[str, bytes], *names: str) -> str:
        """Add a commit, which is main from now on and has the other `names`, too; return it."""
        versions = self.repositories.setdefault(repository, {})
        content = json.dumps(sorted((path, sha256(data)) for path, data in files.items()))
        commit = hashlib.sha1(content.encode()).hexdigest()
        for name in ("main", commit, *names):
            versions[name] = (commit, dict(files))
        return commit

    def downloads(self) -> list[tuple[str, str | None]]:
        """Path and Range of each file that was asked for, without requests of headers alone."""
        return [
            (path.rpartition("/")[2], asked)
            for method, path, asked in self.requests
            if method == "GET" and "/resolve/" in path
        ]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` at `hub.address`, also as a proxy for any host, until the end of the block."""

    class Handler(_Handler):
        served = hub

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repository, revision = "/".join(parts[2:4]), (parts[5:] or ["main"])[0]
            file = None
        else:
            repository, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if repository in self.served.gated:
            self._refuse(403, "GatedRepo")
        elif repository not in self.served.repositories:
            self._refuse(404, "RepoNotFound")
        elif revision not in self.served.repositories[repository]:
            self._refuse(404, "RevisionNotFound")
        else:
            commit, files = self.served.repositories[repository][revision]
            if file is None:
                self._send(json.dumps(self._listing(repository, commit, files)).encode(), {})
            elif file not in files:
                self._refuse(404, "EntryNotFound")
            else:
                self._send_file(files[file], commit)

    def _listing(self, repository: str, commit: str, files: dict[str, bytes]) -> dict[str, object]:
        def entry(path: str, data: bytes) -> dict[str, object]:
            about: dict[str, object] = {
                "rfilename": path, "size": len(data), "blobId": hashlib.sha1(data).hexdigest(),
            }  # fmt: skip
            if path.endswith((".safetensors", ".gguf", ".bin")):
                stated = self.served.stated_sha256.get(path, sha256(data))
                about["lfs"] = {"sha256": stated, "size": len(data), "pointerSize": 134}
            return about

        siblings = [entry(path, data) for path, data in files.items()]
        return {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings}

    def _send_file(self, data: bytes, commit: str) -> None:
        headers = {"ETag": f'"{sha256(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(data[start:], headers, 206 if asked else 200)

    def _send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = self.served.cut_after
        if limit is not None and len(body) > limit:
            self.wfile.write(body[:limit])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": code}, status)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
