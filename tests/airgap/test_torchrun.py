"""What the processes of torchrun open, and that they need no more once they are connected."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORKER = '''
import ctypes, os, re, socket, sys
import torch
from torch import distributed
from customir.airgap import block_network
from customir.training.distributed import process_group

def own_addresses():
    """Local addresses of this process's TCP sockets, as /proc/net writes them."""
    links = (os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
             if os.path.islink(f"/proc/self/fd/{name}"))
    own = {link[8:-1] for link in links if link.startswith("socket:")}
    rows = [line.split() for table in ("tcp", "tcp6")
            for line in open(f"/proc/net/{table}").readlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[9] in own}

with process_group():
    assert block_network() is None
    assert ctypes.CDLL(None).socket(socket.AF_INET, socket.SOCK_STREAM, 0) == -1
    value = torch.tensor([distributed.get_rank() + 1.0])
    distributed.all_reduce(value)
    # One write, so that the lines of two processes do not run into each other.
    sys.stdout.write(f"SUM {value.item()} ADDRESSES {sorted(own_addresses())}\\n")
    sys.stdout.flush()
'''
LOOPBACK = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_on_one_machine_use_loopback_and_work_behind_the_block(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", str(tmp_path / "worker.py")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("SUM")]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("SUM 3.0 ")
        addresses = set(line.partition("ADDRESSES ")[2].strip("[]").replace("'", "").split(", "))
        assert addresses
        assert addresses <= LOOPBACK
