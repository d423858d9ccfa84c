"""Writes the reference pages from the code while MkDocs builds, so that they cannot drift from it.

This is a MkDocs hook: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import click
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic.fields import FieldInfo

from customir.cli import cli
from customir.server.openapi import description
from customir.settings import SETTINGS_NAME, Section, Settings

ENDPOINTS = "<!-- endpoints -->"  # where reference/http.md has what the server describes

# How a constraint of a setting is written.
CONSTRAINTS = {
    Ge: ("at least", "ge"),
    Gt: ("above", "gt"),
    Le: ("at most", "le"),
    Lt: ("below", "lt"),
    MinLen: ("not shorter than", "min_length"),
    MaxLen: ("not longer than", "max_length"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"commands": command_page(), "settings": settings_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the endpoints."""
    return markdown.replace(ENDPOINTS, endpoint_sections())


def endpoint_sections() -> str:
    """The server's endpoints with what they take and return, from its OpenAPI description."""
    described = description("")
    schemas = described["components"]["schemas"]
    sections: list[str] = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            token = "" if operation.get("security", True) else " It needs no token."
            sections += [f"### {method.upper()} {path}", f"{operation['summary']}.{token}"]
            if fields := request_fields(operation, schemas):
                sections.append(table(("field", "value", "default", "what it does"), fields))
            answer = operation["responses"]["200"]["content"]
            if "application/json" in answer and (
                reference := answer["application/json"].get("schema", {}).get("$ref")
            ):
                name = reference.rpartition("/")[2]
                sections.append(f"It returns: `{', '.join(schemas[name]['properties'])}`.")
    statuses = described["paths"]["/search"]["get"]["responses"]
    rows = [(f"`{status}`", each["description"]) for status, each in statuses.items()]
    return "\n\n".join([*sections, "### Statuses", table(("status", "meaning"), rows)])


def request_fields(
    operation: dict[str, Any], schemas: dict[str, Any]
) -> list[tuple[str, str, str, str]]:
    """The parameters of a GET request, or the fields of a POST request's JSON body."""
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        fields = schemas[reference.rpartition("/")[2]]["properties"]
    else:
        fields = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    return [
        (f"`{name}`", json_type(schema), json_default(schema), schema.get("description", ""))
        for name, schema in fields.items()
    ]


def json_type(schema: dict[str, Any]) -> str:
    """A JSON schema's type in words, with its limits."""
    if "anyOf" in schema:
        return " or ".join(json_type(each) for each in schema["anyOf"] if each != {"type": "null"})
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {json_type(schema.get('items', {}))}"
    limits = [
        f"{words} {schema[name]}"
        for name, words in (
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("maxLength", "length at most"),
        )
        if name in schema
    ]
    return ", ".join([schema.get("type", "any"), *limits])


def json_default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default in (None, "") else f"`{json.dumps(default)}`"


def command_page() -> str:
    """Every command with its arguments, options and examples."""
    sections = [
        "# Commands",
        "`customir COMMAND --help` prints the same. [Exit statuses](exit-status.md) are the same for all.",
    ]
    for path, command in leaf_commands(cli, ("customir",)):
        sections += [f"## {' '.join(path)}", usage(path, command), unwrap(command.help or "")]
        options = [option for option in command.params if isinstance(option, click.Option)]
        if options:
            sections.append(table(("option", "what it does"), map(option_row, options)))
        lines = [line.strip() for line in getattr(command, "examples", "").strip().splitlines()]
        sections.append("```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```")
    return "\n\n".join(sections) + "\n"


def leaf_commands(
    group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Commands that are no groups, with the words that call them."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaf_commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def usage(path: tuple[str, ...], command: click.Command) -> str:
    """How the command is called."""
    context = click.Context(command, info_name=" ".join(path))
    return f"```text\n{' '.join([*path, *command.collect_usage_pieces(context)])}\n```"


def option_row(option: click.Option) -> tuple[str, str]:
    """The names of an option with its values, and its help with the default."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    values = "" if option.is_flag else f" {option_values(option)}"
    # The help record says the default, where the option shows one.
    record = option.get_help_record(click.Context(click.Command("any")))
    return names + values, record[1] if record else ""


def option_values(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return ", ".join(f"*{choice}*" for choice in option.type.choices)
    return option.type.name.upper().replace(" RANGE", "")


def settings_page() -> str:
    """Every setting with its type, default and limits."""
    sections = [
        "# Settings",
        f"`DIR/{SETTINGS_NAME}` has all settings. Edit it and run the command again; "
        "flags override it. An unknown name is an error that names the field.",
        "## Top level",
        settings_table(Settings),
    ]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if is_section(section):
            sections += [f"## [{name}]", section.__doc__ or "", settings_table(section)]
    return "\n\n".join(sections) + "\n"


def settings_table(section: type[Section]) -> str:
    rows = [
        (f"`{name}`", value_text(field), f"`{default_text(field)}`", field.description or "")
        for name, field in section.model_fields.items()
        if not is_section(field.annotation)
    ]
    return table(("setting", "value", "default", "what it does"), rows)


def is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def value_text(field: FieldInfo) -> str:
    """The type of a setting in words, with its limits."""
    limits = [
        f"{words} {getattr(constraint, name)}"
        for constraint in field.metadata
        for kind, (words, name) in CONSTRAINTS.items()
        if isinstance(constraint, kind)
    ]
    return ", ".join([type_text(field.annotation), *limits])


def type_text(annotation: object) -> str:
    """A type in words: "integer", "list of text", or the values to choose from."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"table of {type_text(arguments[1])} by {type_text(arguments[0])}"
    if origin in (types.UnionType, typing.Union):
        given = [type_text(each) for each in arguments if each is not types.NoneType]
        return " or ".join(given) + ", or unset"
    names = {int: "integer", float: "number", bool: "true or false", str: "text"}
    return names[annotation]  # type: ignore[index]


def default_text(field: FieldInfo) -> str:
    """A default as it stands in TOML."""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    return toml_text(value)


def toml_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml_text(each)}' for key, each in value.items())}}}"
    return str(value)


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def unwrap(text: str) -> str:
    """Docstrings are wrapped for a terminal; paragraphs stay."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
