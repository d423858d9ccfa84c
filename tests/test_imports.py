"""Imports run downhill: the rooms of the house, checked on the import graph that grimp builds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the top down. Rooms in one line do not import each other.
LAYERS = (
    ("cli",),
    ("commands", "library", "server"),
    ("pipeline",),
    ("stages",),
    ("job",),
    ("report",),
    ("corpus", "queries", "negatives", "training", "evaluation"),
    ("exporters", "embeddings"),
    ("models", "retrieval", "llm"),
    ("runtime",),
    ("encoder",),
    ("kernels", "workspace"),
    ("airgap", "settings"),
    ("files", "listening", "processors", "progress", "telemetry", "text"),
    ("errors", "interrupt", "terminal"),
)
GRAPH = """
import sys
sys.path.insert(0, sys.argv[1])
import grimp
graph = grimp.build_graph("customir", cache_dir=None)
for module in sorted(graph.modules):
    for imported in sorted(graph.find_modules_directly_imported_by(module)):
        print(module, imported)
"""
HEAVY = {"torch", "transformers", "peft", "llama_cpp", "optimum", "sentence_transformers"}


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Who imports whom, with `kernels` and `exporters` where they are installed."""
    folder = tmp_path_factory.mktemp("tree")
    python_only = shutil.ignore_patterns("__pycache__", "*.so", "*.cpp", "*.hpp")
    shutil.copytree(ROOT / "customir", folder / "customir", ignore=python_only)
    for name in ("kernels", "exporters"):
        shutil.copytree(ROOT / name, folder / "customir" / name, ignore=python_only)
    done = subprocess.run(
        [sys.executable, "-c", GRAPH, str(folder)], capture_output=True, text=True, check=True
    )
    found = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert len(found) > 300, "the graph is nearly empty: nothing was checked"
    return [(importer, imported) for importer, imported in found]


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_module_is_in_a_layer(edges: list[tuple[str, str]]) -> None:
    known = {name for layer in LAYERS for name in layer}
    assert {room(module) for edge in edges for module in edge} - known <= {"", "__main__"}


def test_imports_run_downhill(edges: list[tuple[str, str]]) -> None:
    height = {name: -number for number, layer in enumerate(LAYERS) for name in layer}
    uphill = [
        f"{importer} imports {imported}"
        for importer, imported in edges
        if room(importer) in height
        and room(imported) in height
        and room(importer) != room(imported)
        and height[room(importer)] <= height[room(imported)]
    ]
    assert uphill == []


def test_sql_stands_in_the_workspace_and_the_index_alone() -> None:
    statement = re.compile(
        r"\.execute(many|script)?\(|[\"'](SELECT|INSERT (OR \w+ )?INTO|UPDATE|DELETE FROM|CREATE) "
    )
    found = {
        str(path.relative_to(ROOT))
        for folder in ("customir", "exporters", "kernels")
        for path in (ROOT / folder).rglob("*.py")
        if statement.search(path.read_text())
    }
    rooms = ("customir/workspace/", "customir/runtime/index")
    assert [path for path in sorted(found) if not path.startswith(rooms)] == []
    assert "customir/runtime/index_reader.py" in found, "the pattern finds nothing"


@pytest.mark.parametrize("name", ["customir.runtime", "customir.server.app"])
def test_a_server_imports_nothing_heavy(name: str) -> None:
    code = f"import {name}, sys; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
