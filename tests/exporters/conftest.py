"""One adapted, exported and quantised model, shared by the exporters' tests."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from customir.exporters.int8 import Quantized, quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

TEXTS = (
    "Budget meeting moved to Thursday",
    "Hi Anna,\nthe quarterly numbers are attached. Please check the gas volumes before noon.\nBob",
    "Server outage report: " + "the mail queue was full and deliveries were delayed. " * 12,
    "lunch?",
    "Der Vertrag liegt zur Unterschrift bereit.",
    "",
    "How do I fit a mixed model with spatially correlated errors in R?",
    "Kernel panic after the upgrade, see the trace below. " * 40,
)


@dataclass(frozen=True)
class Exported:
    """A merged folder with both ONNX files."""

    folder: Path
    quantized: Quantized


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Short, long, empty, too long, and not English."""
    return list(TEXTS)


@pytest.fixture(scope="session")
def adapter(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with random weights, as peft saves it."""
    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value", "dense"])
    model = get_peft_model(AutoModel.from_pretrained(minilm), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported(
    minilm: Path, adapter: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The adapted model through the whole chain."""
    folder = merge_adapter(minilm, adapter, 0.5, tmp_path_factory.mktemp("chain") / "model")
    export_onnx(folder)
    return Exported(folder, quantize(folder, HeldOut(texts)))


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the exported folder that a test may spoil."""
    return Path(shutil.copytree(exported.folder, tmp_path / "copied"))
