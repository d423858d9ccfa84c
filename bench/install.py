"""What `pip install customir` brings without extras: packages, megabytes, seconds to import.

The wheel is built and installed into a fresh environment by pip, with the pins of constraints.txt.
The peer is sentence-transformers with all that it needs, as they are installed here. Torch and its
kind must not be in ours: else the script ends with 1.
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
    """A fresh environment in `folder` with our wheel; its Python."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            leave = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leave)
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


def needed_by(name: str) -> list[Distribution]:
    """The package and all that it needs without extras, of what is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        one = canonicalize_name(waiting.pop())
        try:
            package = distribution(one)
        except PackageNotFoundError:  # for another system
            continue
        if one in found:
            continue
        found[one] = package
        wanted = map(Requirement, package.requires or ())
        waiting += [each.name for each in wanted if not each.marker or each.marker.evaluate()]
    return list(found.values())


def seconds(python: str | Path, code: str, rounds: int) -> float:
    """Median of a fresh process' time, start of the interpreter included; one round before it."""
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
        size, took = megabytes(ours), seconds(python, OURS, rounds)
        kernel = any(packages.rglob("_scan*.so"))
    theirs = needed_by("sentence-transformers")
    peer_size, peer_took = megabytes(theirs), seconds(sys.executable, PEER, rounds)
    print(f"{'':22} packages     MB   seconds to import")
    print(f"{'customir':22} {len(ours):8} {size:6.0f} {took:8.2f}   {', '.join(names)}")
    print(f"{'sentence-transformers':22} {len(theirs):8} {peer_size:6.0f} {peer_took:8.2f}")
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
        for what, mine, other in (("MB", size, peer_size), ("seconds to import", took, peer_took))
    ]
    print(json.dumps({"bench": "install", "claims": claims}))
    if heavy := HEAVY & set(names):
        sys.exit(f"heavy packages: {', '.join(sorted(heavy))}")


if __name__ == "__main__":
    main()
