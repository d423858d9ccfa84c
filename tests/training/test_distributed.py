"""Two processes under gloo train the adapter that one process trains."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, train

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(
    batch_size=6, epochs=1, mini_batch_num_tokens=256, precision="fp32", learning_rate=1e-3
)


def examples() -> list[Example]:
    return [
        Example(f"desk {n}", TrainingPassage(f"p{n}", f"books of desk {n} " * (1 + 5 * n), "", ""))
        for n in range(12)
    ]


def run(base: Path, folder: Path) -> None:
    train(base, examples(), SETTINGS, 0, "cpu", folder, Silent())


def test_two_gloo_processes_equal_one(minilm: Path, tmp_path: Path) -> None:
    run(minilm, tmp_path / "one")
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_distributed; from pathlib import Path; from torch import distributed\n"
        "distributed.init_process_group('gloo')\n"
        f"test_distributed.run(Path({str(minilm)!r}), Path({str(tmp_path / 'two')!r}))\n"
        "distributed.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (
        safetensors.torch.load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (two[name] - weight).norm() <= 1e-3 * weight.norm(), name
    assert max(float(weight.abs().max()) for name, weight in two.items() if "lora_B" in name) > 0
