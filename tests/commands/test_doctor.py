"""`customir doctor` tells what is so: each answer is compared with where it comes from."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from customir.kernels import scan

from customir import __version__
from customir.processors import usable_processors


def doctor(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "customir", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_json_is_what_the_machine_says() -> None:
    found = json.loads(doctor("--json"))
    assert found["customir"] == __version__
    assert found["cores"] == usable_processors()
    assert found["kernels"]["search among vectors"] == (
        scan.best_kernel() or "none; sqlite-vec instead"
    )
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert "pytest" not in found["versions"]
    assert found["free_disk"] > 0
    if sys.platform == "linux":
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        assert all(name in flags for name in found["instruction_sets"])
        assert found["network"].startswith("the kernel")


def test_table_is_plain_when_piped() -> None:
    lines = doctor().splitlines()
    assert "CustomIR\t" + __version__ in lines
    assert all(line.count("\t") == 1 for line in lines)
