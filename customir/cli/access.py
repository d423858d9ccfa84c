"""`customir access`: tokens, and how much each user may read."""

import json
from pathlib import Path

import click

from customir.cli.options import Examples, InOrder, folder_argument, json_option
from customir.errors import UserError
from customir.terminal import echo, one_line


@click.group(cls=InOrder)
def access() -> None:
    """Make tokens for the users of `customir serve --access`, and check what each may read."""


@access.command(
    "token",
    cls=Examples,
    examples="""
    customir access token
    customir access token --json | jq -r .hash
    """,
)
@json_option
def make_token(as_json: bool) -> None:
    """Print a new random token for a user, and its hash for the access file.

    The token is stored nowhere: give it to the user, and write the hash into the file.
    """
    _need_server()
    from customir.server.access_file import hash_token
    from customir.server.auth import new_token

    token = new_token()
    if as_json:
        echo(json.dumps({"token": token, "hash": hash_token(token)}))
    else:
        echo(f'token   {token}\nhash    tokens = ["{hash_token(token)}"]')


@access.command("check", cls=Examples, examples="customir access check mail access.toml")
@folder_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def check_access(folder: Path, file: Path, as_json: bool) -> None:
    """Check an access file, and print how many documents of DIR each user may read.

    Run it before the file replaces the one of a running server.
    """
    _need_server()
    from customir.runtime.search import Searcher
    from customir.server.access_file import read_users

    rows = []
    with Searcher(folder) as searcher:
        for user in read_users(file).by_name.values():
            searcher.rights = user.rights
            documents = searcher.about().documents
            rows.append({"user": user.name, "documents": documents, "metrics": user.metrics})
    if as_json:
        echo(json.dumps(rows))
        return
    for row in rows:
        metrics = ", and /metrics" if row["metrics"] else ""
        echo(f"{row['documents']:>9,} documents  {one_line(str(row['user']))}{metrics}")


def _need_server() -> None:
    try:
        import customir.server.access_file  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"`customir access` needs {error.name}. Run: pip install 'customir[serve]'"
        ) from error
