"""`customir serve`."""

from pathlib import Path

import click

from customir.cli.network import block
from customir.cli.options import Examples, folder_argument
from customir.errors import UserError
from customir.listening import bound_socket, bound_unix_socket


@click.command(
    cls=Examples,
    examples="""
    customir serve mail
    customir serve mail --unix-socket /run/customir/mail.sock
    customir serve mail --host 192.0.2.7 --tls-cert mail.pem --tls-key mail.key
    customir serve mail --access access.toml --audit-log audit.log
    """,
)
@folder_argument
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address of this machine to listen on.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port; 0: any free one.",
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path),
    help="Listen on this Unix socket, which only you can open, instead of an address.",
)
@click.option(
    "--unix-socket-group",
    metavar="GROUP",
    help="Let this group of users open the Unix socket, too; they need a token or rights.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the token that clients send. Default: the variable CUSTOMIR_TOKEN, or else a random token.",
)
@click.option(
    "--access",
    "access_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file with users, the hashes of their tokens, and what each may read.",
)
@click.option(
    "--audit-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write who asked when, and which documents were returned, to this file.",
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), help="A TLS certificate in PEM format."
)
@click.option(
    "--tls-key", type=click.Path(path_type=Path), help="The key of the certificate in PEM format."
)
@click.option(
    "--root-path", default="", help="The path prefix that a proxy removes, for example /mail."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many processes serve.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    help="Write a line of JSON for each request to stderr, without queries.",
)
@click.pass_context
def serve(
    context: click.Context,
    folder: Path,
    host: str,
    port: int,
    unix_socket: Path | None,
    unix_socket_group: str | None,
    token_file: Path | None,
    access_file: Path | None,
    audit_log: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    root_path: str,
    workers: int,
    access_log: bool,
) -> None:
    """Serve DIR: a search page, /search (JSON), OpenAI's /v1/embeddings, /health and /metrics.

    It prints a link that contains the token, which every request for DIR's content needs. On a Unix
    socket no token is needed unless one is given. With --access, each user has a token of their own,
    and finds only what they may read.
    """
    if unix_socket is not None:
        for name in ("host", "port"):
            if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise UserError(
                    f"--{name}: cannot be combined with --unix-socket. Leave out one of them."
                )
    elif unix_socket_group is not None:
        raise UserError("--unix-socket-group: only for --unix-socket. Give both, or neither.")
    with (
        bound_unix_socket(unix_socket, unix_socket_group)
        if unix_socket
        else bound_socket(host, port) as bound
    ):
        block()
        try:
            from customir.server.command import serve_folder
        except ImportError as error:
            raise UserError(
                f"`customir serve` needs {error.name}. Run: pip install 'customir[serve]'"
            ) from error

        serve_folder(
            folder,
            bound,
            token_file=token_file,
            access_file=access_file,
            audit=audit_log,
            shared=unix_socket_group is not None,
            certificate=(tls_cert, tls_key),
            root=root_path,
            workers=workers,
            logged=access_log,
        )
