"""What `pip install customir` installs without extras: packages, megabytes, seconds to import.

The wheel is built and installed into a fresh environment with the pins of constraints.txt. The peer is
sentence-transformers with its dependencies as they are installed here. It exits with 1 if PyTorch or
another heavy package is among ours.

    python bench/install.py
    python bench/install.py --quick
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCES = ("customir", "kernels", "exporters", "pyproject.toml", "README.md")
HEAVY = {"torch", "transformers", "peft", "optimum", "sentence-transformers", "llama-cpp-python"}
OURS = "from customir.runtime import Embedder, Searcher"
PEER = "from sentence_transformers import SentenceTransformer"


def install(folder: Path) -> Path:
    """Install our wheel into a fresh environment in `folder`; return its Python."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    subprocess.run([*pip, "--python", python, "install", "-c", constraints, wheel], check=True)
    return python


def megabytes(packages: list[Distribution]) -> float:
    sizes = (
        path.stat().st_size
        for package in packages
        for file in package.files or ()
        if (path := Path(str(package.locate_file(file)))).is_file()
    )
    return sum(sizes) / 1e6


def dependencies_of(name: str) -> list[Distribution]:
    """The package and its dependencies without extras, among the installed packages."""
    packages_by_name: dict[str, Distribution] = {}
    queue = [name]
    while queue:
        one = canonicalize_name(queue.pop())
        try:
            package = distribution(one)
        except PackageNotFoundError:  # for another system
            continue
        if one in packages_by_name:
            continue
        packages_by_name[one] = package
        requirements = map(Requirement, package.requires or ())
        queue += [each.name for each in requirements if not each.marker or each.marker.evaluate()]
    return list(packages_by_name.values())


def seconds(python: str | Path, code: str, rounds: int) -> float:
    """Median time of a fresh process, including the start of the interpreter, after one warm-up."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run([python, "-c", code], check=True, cwd="/")
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    rounds = 3 if parser.parse_args().quick else 9
    with tempfile.TemporaryDirectory() as scratch:
        python = install(Path(scratch))
        (packages,) = (python.parent.parent / "lib").glob("python*/site-packages")
        ours = list(distributions(path=[str(packages)]))
        names = sorted(canonicalize_name(package.metadata["Name"]) for package in ours)
        size, import_seconds = megabytes(ours), seconds(python, OURS, rounds)
        kernel = any(packages.rglob("_scan*.so"))
    peer_packages = dependencies_of("sentence-transformers")
    peer_size, peer_import_seconds = megabytes(peer_packages), seconds(sys.executable, PEER, rounds)
    print(f"{'':22} packages     MB   seconds to import")
    print(f"{'customir':22} {len(ours):8} {size:6.0f} {import_seconds:8.2f}   {', '.join(names)}")
    print(
        f"{'sentence-transformers':22} {len(peer_packages):8} {peer_size:6.0f} {peer_import_seconds:8.2f}"
    )
    print(f"scan kernel compiled: {'yes' if kernel else 'no'}")
    measured = f"one machine, fresh processes, median of {rounds}"
    claims = [
        {
            "claim": f"installed without extras, {what}",
            "ours": round(mine, 2),
            "peer": "sentence-transformers",
            "peer_figure": round(other, 2),
            "ratio": round(other / mine, 1),
            "measured_on": measured,
        }
        for what, mine, other in (
            ("MB", size, peer_size),
            ("seconds to import", import_seconds, peer_import_seconds),
        )
    ]
    print(json.dumps({"bench": "install", "claims": claims}))
    if heavy := HEAVY & set(names):
        sys.exit(f"heavy packages: {', '.join(sorted(heavy))}")


if __name__ == "__main__":
    main()
