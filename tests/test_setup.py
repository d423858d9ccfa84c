"""What the packaging and the Makefile promise."""

import itertools
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from customir.kernels.native import load_library
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "peft", "optimum", "sentence_transformers", "llama_cpp"}


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In the repository root, which `python -c` puts first on sys.path."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def constraints() -> dict[str, Version]:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line):
            pins[canonicalize_name(match[1])] = Version(match[2])
        else:
            # No path, no URL, no local version: the file has to mean the same everywhere.
            assert line.startswith("#") or not line, line
    return pins


@pytest.mark.slow
def test_transformers_imports_beside_our_kernels() -> None:
    """transformers tries `import kernels`, which is a folder of ours where the root is on sys.path."""
    done = run(
        "import kernels, transformers\n"
        "from transformers import AutoModel, AutoTokenizer, BertModel, MPNetModel\n"
        "print(kernels.__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "kernels" / "__init__.py")


def test_kernels_and_exporters_are_installed_below_customir() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import customir.kernels, customir.exporters"],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_runtime_imports_nothing_heavy() -> None:
    modules = sorted((ROOT / "customir" / "runtime").glob("[a-z]*.py"))
    assert modules
    imports = "".join(f"import customir.runtime.{module.stem}\n" for module in modules)
    imports += "import customir.kernels.scan, customir.kernels.int8_encoder\n"
    done = run(f"{imports}import sys\nprint(*sorted(set(sys.modules) & {HEAVY!r}))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_importing_a_kernel_changes_nothing() -> None:
    """No environment variable, and no torch thread or random state, for whoever imports one."""
    modules = ["attention", "infonce", "lora_linear", "activation_cache", "scan"]
    imports = "".join(f"import customir.kernels.{module}\n" for module in modules)
    done = run(
        "import os, torch\n"
        "before = dict(os.environ), torch.get_num_threads(), torch.get_rng_state().tolist()\n"
        f"{imports}"
        "after = dict(os.environ), torch.get_num_threads(), torch.get_rng_state().tolist()\n"
        "assert before == after"
    )
    assert done.returncode == 0, done.stderr


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = constraints()
    for requirement in map(Requirement, itertools.chain(*groups)):
        name = canonicalize_name(requirement.name)
        assert name in pins, requirement
        assert pins[name] in requirement.specifier, requirement


def test_second_make_has_nothing_to_do(tmp_path: Path) -> None:
    """With the stamps newer than their sources, make asks for neither pip nor a model."""
    sources = ["Makefile", "pyproject.toml", "constraints.txt", "llama-cpp.cmake"]
    for name in (*sources, "customir/models/registry.toml", "demo/fetch_mail.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    first = make(tmp_path, "test")
    assert '-e ".[adapt,formats,serve,dev,docs]"' in first
    assert "customir models fetch smollm2-135m" in first
    for_demo = make(tmp_path, "setup")
    assert '-e ".[adapt,formats,serve]"' in for_demo
    assert "dev" not in re.findall(r"\.\[([a-z,]*)\]", for_demo)[-1].split(",")
    assert "smollm2-135m" not in for_demo

    (tmp_path / ".venv").mkdir()
    for name in ("installed", "developing", "model-minilm", "model-smollm2-135m"):
        (tmp_path / ".venv" / f"stamp-{name}").touch()
    (command,) = make(tmp_path, "test").splitlines()
    assert ".venv/bin/python -m pytest " in command
    assert "customir models fetch qwen2.5-coder-0.5b" in make(tmp_path, "demo")
    assert 'adapt "my mail.mbox" --out "demo/out-my-mail"' in make(
        tmp_path, "demo", "MAIL=my mail.mbox"
    )


def test_a_built_llama_cpp_is_used(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert "LLAMA_BUILD=OFF" not in make(tmp_path, ".venv/stamp-installed")
    commands = make(tmp_path, ".venv/stamp-installed", "LLAMA_CPP_LIB_PATH=/opt/llama.cpp/lib")
    assert "-DLLAMA_BUILD=OFF" in commands


def test_makefile_names_the_version_of_llama_cpp() -> None:
    named = re.search(r"^LLAMA_CPP = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named is not None
    done = run("import llama_cpp; print(llama_cpp.llama_version().decode())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(named[1])


def make(folder: Path, *arguments: str) -> str:
    """What make would do."""
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_kernel_was_compiled() -> None:
    """A kernel that does not compile is left out in silence, and its own tests would be skipped."""
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for module in modules["ext-modules"]:
        package, _, name = module["name"].rpartition(".")
        folder = Path(import_module(package).__file__).parent
        assert load_library(folder, name) is not None, module["name"]
