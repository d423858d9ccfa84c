"""A model folder from a stranger: no code of it runs, nothing is asked, no pickle is opened."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from customir.exporters.gguf import export_gguf
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx, load_encoder
from encoder.folders import change_json, tiny_folder, write_json
from safetensors.torch import load_file

from customir import models
from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.runtime.embedder import Embedder, fingerprint

LOADERS: dict[str, Callable[[Path], object]] = {
    "locate": lambda folder: models.locate(str(folder), "embedder"),
    "encoder": Encoder.load,
    "merge": lambda folder: merge_adapter(folder, folder, 0.5, folder.with_name("merged")),
    "onnx": export_onnx,
    "torch": load_encoder,
    "gguf": export_gguf,
    "runtime": Embedder,
    "fingerprint": fingerprint,
}
READ_WEIGHTS = ("locate", "encoder", "merge", "onnx", "torch")


def with_custom_module(root: Path, mark: Path) -> Path:
    """A folder whose modules.json names a class in a file beside it."""
    tiny_folder(root)
    (root / "custom_st.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from sentence_transformers.sentence_transformer.modules import Transformer\n"
    )
    modules = json.loads((root / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    write_json(root / "modules.json", modules)
    return root


def with_auto_map(root: Path, mark: Path) -> Path:
    """A folder whose config.json names a model class in a file beside it."""
    tiny_folder(root)
    (root / "modeling.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom transformers import BertModel, BertConfig\n"
    )
    names = {"AutoConfig": "modeling.BertConfig", "AutoModel": "modeling.BertModel"}
    change_json(root / "config.json", auto_map=names, model_type="nomic_bert")
    return root


def with_tokenizer_code(root: Path, mark: Path) -> Path:
    """A folder whose tokenizer_config.json names a tokenizer class in a file beside it."""
    tiny_folder(root)
    (root / "tokens.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    change_json(root / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tokens.Tokens"]})
    return root


MAKERS = (with_custom_module, with_auto_map, with_tokenizer_code)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("loader", LOADERS)
def test_no_code_of_a_folder_runs(
    make: Callable[[Path, Path], Path], loader: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "model", tmp_path / "ran")
    with pytest.raises(UserError, match="Custom code is never run"):
        LOADERS[loader](folder)
    assert not (tmp_path / "ran").exists()


def test_what_there_is_instead_of_nomic_bert_is_named(tmp_path: Path) -> None:
    folder = with_auto_map(tmp_path / "model", tmp_path / "ran")
    with pytest.raises(UserError, match="modernbert-embed-base"):
        Encoder.load(folder)


@pytest.mark.parametrize("make", MAKERS)
def test_no_command_asks_on_a_terminal_whether_to_run_code(
    make: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    model = make(tmp_path / "model", tmp_path / "ran")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail/note.txt").write_text("The mill turns.")
    out = tmp_path / "out"
    out.mkdir()
    (out / "customir.toml").write_text(f'sources = ["{tmp_path}/mail"]\nembedder = "{model}"\n')
    commands = [
        ["adapt", f"{tmp_path}/mail", "--out", str(out), "--embedder", str(model)],
        *([name, str(out)] for name in ("train", "evaluate", "export", "index", "analyze")),
    ]
    code = (
        "import sys\n"
        "from customir.cli import main\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['customir', *command]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        print(command[0], end.code)\n"
    )
    terminal, stdin = pty.openpty()
    os.write(terminal, b"y\n" * 20)
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True, check=True
    )
    os.close(terminal)
    os.close(stdin)
    assert done.stdout.split("\n")[:-1] == [f"{command[0]} 2" for command in commands], done.stderr
    assert done.stderr.count("Custom code is never run") == len(commands)
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("loader", READ_WEIGHTS)
@pytest.mark.parametrize("place", ["", "2_Dense"])
def test_no_pickle_is_opened(loader: str, place: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", head=("Dense", "Normalize"))

    class Writes:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (folder / place / "model.safetensors").unlink()
    torch.save({"weight": Writes()}, folder / place / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin, a pickle"):
        LOADERS[loader](folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_the_command_for_a_pickle_of_weights_works_and_runs_no_code(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    expected = Encoder.load(folder, precision="fp32").encode(["The mill turns."])
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle") as raised:
        Encoder.load(folder)
    command = str(raised.value).partition("runs no code: ")[2]
    assert command.startswith("python -c ")
    command = command.replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
    found = Encoder.load(folder, precision="fp32").encode(["The mill turns."])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("activation", ["os.getcwd", "torch.hub.list", "torch.nn.Sequential"])
def test_an_activation_is_a_known_one(activation: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", head=("Dense",))
    change_json(folder / "2_Dense/config.json", activation_function=activation)
    with pytest.raises(UserError, match="activation"):
        load_encoder(folder)


@pytest.mark.parametrize("path", ["/etc", "../elsewhere", "1_Pooling/../../elsewhere"])
def test_a_module_lies_in_the_folder(path: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    write_json(folder / "modules.json", modules)
    with pytest.raises(UserError, match="leads out of"):
        Encoder.load(folder)
