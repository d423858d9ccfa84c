"""The options that commands share, and help that ends with examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(file_okay=False, path_type=Path)


class Examples(click.Command):
    """A command whose help ends with its examples, lines kept as they are."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples.strip().splitlines():
                formatter.write_text(line.strip())


class InOrder(click.Group):
    """A group whose help lists the commands in the order of the pipeline."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that override customir.toml."""
    options = (
        click.option("--embedder", help="A name from `customir models list`, or a folder."),
        click.option("--llm", help="A name from `customir models list`, or a GGUF file."),
        click.option(
            "--llm-url",
            multiple=True,
            metavar="URL",
            help="An OpenAI-compatible server that runs the LLM, http://host:port. Repeatable.",
        ),
        click.option("--passages", type=int, help="Passages that the LLM writes queries for."),
        click.option("--queries", type=int, help="Queries for each passage."),
        click.option(
            "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where models run."
        ),
        click.option("--seed", type=int, help="Seed of every random choice."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that say how sources are read."""
    options = (
        click.option(
            "--include-unwanted/--leave-out-unwanted",
            default=None,
            help="Read spam, trash, drafts and deleted mail, too. By default they are left out.",
        ),
        click.option(
            "--columns",
            multiple=True,
            metavar="FIELD=NAME",
            help="A table's column by name, as text=Inhalt. FIELD is text, title, sender, "
            "recipients, date, identifier or thread. Repeatable.",
        ),
        click.option(
            "--ocr/--no-ocr",
            default=None,
            help="Recognise the text of scanned PDF pages by tesseract, where it is installed.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
