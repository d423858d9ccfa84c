"""The site builds strictly, loads nothing from elsewhere, and names what is there."""

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from customir.cli import EXIT_INTERRUPTED, EXIT_USER_ERROR, cli
from customir.server.openapi import description
from customir.settings import Section, Settings

ROOT = Path(__file__).parent.parent
# What a browser loads by itself as it shows a page; links that a reader follows are not among it.
LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "link": ("href",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "object": ("data",),
}
# `link` elements that load nothing.
ONLY_NAMED = {"canonical", "next", "prev", "alternate", "author"}


class Loads(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "link" and given.get("rel") in ONLY_NAMED:
            return
        self.found += [given[name] for name in LOADED.get(tag, ()) if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found
        elsewhere = [address for address in loads.found if re.match(r"(?:https?:)?//", address)]
        assert not elsewhere, f"{page.relative_to(site)} loads {elsewhere}"


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for style in site.rglob("*.css"):
        elsewhere = re.findall(
            r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']+", style.read_text(encoding="utf-8")
        )
        assert not elsewhere, f"{style.relative_to(site)} loads {elsewhere}"


def test_search_works_from_a_folder(site: Path) -> None:
    assert "__index" in (site / "search" / "search_index.js").read_text(encoding="utf-8")
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "assets/iframe-worker.js" in index


def test_every_command_and_option_has_its_reference(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        assert f"customir {name}" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in page, f"{name}: {parameter.opts}"


def test_every_setting_has_its_reference(site: Path) -> None:
    page = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert name in page
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for inner in field.annotation.model_fields:
                assert f"<code>{inner}</code>" in page, f"{name}.{inner}"


def test_every_endpoint_has_its_reference(site: Path) -> None:
    page = (site / "reference" / "http.html").read_text(encoding="utf-8")
    for path, methods in description("")["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page


def test_exit_statuses_are_those_of_the_command_line() -> None:
    page = (ROOT / "docs" / "reference" / "exit-status.md").read_text(encoding="utf-8")
    statuses = {int(status) for status in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert statuses == {0, 1, EXIT_USER_ERROR, EXIT_INTERRUPTED}


def test_every_claim_names_a_script_that_is_there() -> None:
    for page in sorted((ROOT / "docs" / "results").glob("*.md")):
        scripts = set(re.findall(r"bench/\w+\.py", page.read_text(encoding="utf-8")))
        assert scripts, f"{page.name} names no script"
        for script in scripts:
            assert (ROOT / script).exists(), f"{page.name} names {script}, which is not there"


def test_every_script_of_bench_has_a_result() -> None:
    pages = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md")
    )
    for script in sorted((ROOT / "bench").glob("*.py")):
        assert f"bench/{script.name}" in pages, f"no page of docs/results names {script.name}"


def test_pages_that_the_code_names_are_there() -> None:
    for folder in ("customir", "kernels", "exporters", "bench", "tests"):
        for path in sorted((ROOT / folder).rglob("*.[pch]*")):
            if path.suffix not in {".py", ".cpp", ".hpp"}:
                continue
            for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
                assert (ROOT / page).exists(), f"{path.relative_to(ROOT)}: {page}"


def test_links_of_the_files_at_the_top_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)[^)]*\)", text):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_the_house_is_laid_out_as_contributing_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else ROOT
        path = folder / name
        assert path.exists(), f"CONTRIBUTING.md names {path.relative_to(ROOT)}"
        if not line.startswith(" "):
            folder = path
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.startswith(" ")}
    rooms = {path.parent.name for path in (ROOT / "customir").glob("*/__init__.py")}
    assert rooms <= named, f"CONTRIBUTING.md says nothing of {sorted(rooms - named)}"
    for path in re.findall(r"`((?:customir|exporters|kernels|tests|docs)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), f"CONTRIBUTING.md names {path}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_results_name_every_script_and_no_other() -> None:
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "results").glob("*.md"))
    scripts = {path.name for path in (ROOT / "bench").glob("*.py")}
    assert set(re.findall(r"bench/(\w+\.py)", pages)) == scripts


@pytest.mark.parametrize(
    "script", sorted((ROOT / "bench").rglob("*.py")), ids=lambda path: path.name
)
def test_scripts_say_what_they_measure_and_need_nothing_from_outside(script: Path) -> None:
    source = script.read_text("utf-8")
    lines = (ast.get_docstring(ast.parse(source)) or "").splitlines()
    assert lines[0].endswith((".", "?"))
    assert any(line.startswith("    python bench/") for line in lines), "how to run it"
    assert "../" not in source
