"""Options that commands share, and help that ends with examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
folder_argument = click.argument("folder", metavar="DIR", type=FOLDER)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


truncate_dim_option = click.option(
    "--truncate-dim",
    type=click.IntRange(1),
    help="Use only this many of the first dimensions of the base's vectors, for a base that was "
    "trained for it (Matryoshka).",
)


def out_option(required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --out, which names DIR."""
    return click.option(
        "--out",
        "folder",
        type=FOLDER,
        required=required,
        help="DIR, the folder for everything that CustomIR writes.",
    )


class Examples(click.Command):
    """A command whose help ends with examples, one per line."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples.strip().splitlines():
                formatter.write_text(line.strip())


class InOrder(click.Group):
    """A group whose help lists its commands as they were added, each with its whole first sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(limit=200))
                    for name, command in self.commands.items()
                ]
            )


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that override customir.toml."""
    options = (
        click.option(
            "--embedder",
            help="The base embedder: a name from `customir models list`, or a sentence-transformers folder.",
        ),
        truncate_dim_option,
        click.option("--llm", help="The LLM: a name from `customir models list`, or a GGUF file."),
        click.option(
            "--llm-url",
            multiple=True,
            metavar="URL",
            help="An OpenAI-compatible server that runs the LLM, as http://host:port. Repeatable.",
        ),
        click.option("--passages", type=int, help="How many passages the LLM writes queries for."),
        click.option(
            "--queries", type=int, help="How many queries the LLM writes for each passage."
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            help="Where models run; auto: on a GPU if there is one.",
        ),
        click.option("--seed", type=int, help="Seed of every random choice."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags for reading sources."""
    options = (
        click.option(
            "--include-unwanted/--leave-out-unwanted",
            default=None,
            help="Also read spam, trash, drafts and deleted mail, which are left out by default.",
        ),
        click.option(
            "--columns",
            multiple=True,
            metavar="FIELD=NAME",
            help="The name of a column in a table, for example text=Inhalt. FIELD is text, title, "
            "sender, recipients, date, identifier or thread. Repeatable.",
        ),
        click.option(
            "--ocr/--no-ocr",
            default=None,
            help="Recognise the text of scanned PDF pages with tesseract, if it is installed.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
