"""The work of `customir serve` after its socket is open."""

import os
import socket
from pathlib import Path

from customir.errors import UserError
from customir.listening import is_loopback
from customir.server.access_file import AccessFile
from customir.server.auth import Access, new_token, owned, read_token
from customir.server.options import Options
from customir.server.processes import serve, serve_in_processes
from customir.terminal import echo

TOKEN_VARIABLE = "CUSTOMIR_TOKEN"


def serve_folder(
    folder: Path,
    bound: socket.socket,
    *,
    token_file: Path | None,
    access_file: Path | None,
    audit: Path | None,
    shared: bool,
    certificate: tuple[Path | None, Path | None],
    root: str,
    workers: int,
    logged: bool,
) -> None:
    """Serve `folder` until SIGINT or SIGTERM, and print the address. Call it in the main thread.

    Args:
        bound: A TCP or Unix socket.
        token_file: The file with the token. None: the variable CUSTOMIR_TOKEN, or else a random
            token for TCP and no token for a Unix socket.
        access_file: The file with users and their rights, instead of a token.
        audit: The file of the audit log; None: there is none.
        shared: Whether others can open the Unix socket, so that a token is needed there, too.
        root: The path below which a proxy publishes the server; "": none.
        workers: How many processes serve.

    Raises:
        UserError: an option can't be used, or as `Service`.
    """
    is_unix = bound.family == socket.AF_UNIX
    loopback = not is_unix and is_loopback(bound.getsockname()[0])
    given = os.environ.get(TOKEN_VARIABLE) if token_file is None else read_token(token_file)
    if access_file is not None and given is not None:
        raise UserError(
            f"--access: cannot be combined with --token-file and {TOKEN_VARIABLE}. Write the token's "
            "hash into the access file; `customir access token` prints it."
        )
    is_open = access_file is None and given is None
    if is_open and shared:
        raise UserError("--unix-socket-group: give --access or --token-file, too.")
    random_token = new_token() if is_open and not is_unix else None
    options = Options(
        folder=folder,
        access=Access(AccessFile(access_file).users, loopback)
        if access_file is not None
        else owned(random_token if given is None else given, loopback=loopback),
        root=_checked_root(root),
        certificate=_pair(*certificate),
        audit=audit,
        logged=logged,
    )

    def ready() -> None:
        where = f"unix:{bound.getsockname()}" if is_unix else address_of(bound, options)
        if random_token is not None:
            # After the #, it stays in the browser: no proxy and no log sees it.
            where += f"#token={random_token}"
        echo(f"{where}  (Ctrl-C stops it)", err=True)
        if not is_unix and not loopback and options.certificate is None:
            echo(
                "Without --tls-cert or a proxy with TLS, others on the network can read the token and "
                "the results.",
                err=True,
            )

    if workers == 1:
        serve(bound, options, ready)
    else:
        serve_in_processes(bound, options, ready, workers)


def address_of(bound: socket.socket, options: Options) -> str:
    """The address of the search page on a TCP socket."""
    host, port = bound.getsockname()[:2]
    scheme = "http" if options.certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{options.root}/"


def _checked_root(root: str) -> str:
    root = root.rstrip("/")
    if root and not (root.startswith("/") and root.isascii() and root.isprintable()):
        raise UserError(f"--root-path: {root!r} is not a path. Write it like /mail.")
    return root


def _pair(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key need each other. Give both, or neither.")
    return certificate, key
