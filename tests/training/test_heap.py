"""Freed tensors are the system's again when they are many, whatever stands between them."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import torch
from customir.training.heap import Heap
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))
torch.ones(1 << 22)  # glibc raises its threshold to these 16 MB when they are freed
heap = Heap()
held = [torch.ones(1 << 18) for _ in range(100)]
heap.trim()
del held[::2]
before = resident()
heap.trim()
few = before - resident()
held += [torch.ones(1 << 18) for _ in range(500)]
del held[1::2]
before = resident()
heap.trim()
print(few, before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_holes_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    few, much = map(float, done.stdout.split())
    assert few < 10, "50 MB are not worth it"
    assert much > 200, "MB of 275"
