"""Programs for arm64: cross-compiled here, and run in an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parent.parent / "kernels"
COMPILER, EMULATOR = (
    shutil.which("aarch64-linux-gnu-g++"),
    shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static"),
)
on_arm64 = pytest.mark.skipif(
    not (COMPILER and EMULATOR), reason="no compiler for arm64, or no emulator"
)


def run_on_arm64(
    source: str, main: str, folder: Path, cpu: str = "max"
) -> subprocess.CompletedProcess[str]:
    """Compile `kernels/source` with a `main` behind it in `folder`, and run it on a processor."""
    program = folder / "compare"
    (folder / "compare.cpp").write_text(f'#include "{KERNELS / source}"\n{main}')
    subprocess.run(
        [str(COMPILER), "-O3", "-std=c++17", "-pthread", "-static", "-o", str(program),
         str(folder / "compare.cpp")],
        check=True,
    )  # fmt: skip
    return subprocess.run(
        [str(EMULATOR), "-cpu", cpu, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
