import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from customir.exporters.gguf import GGUF_NAME, encode_gguf, export_gguf
from customir.exporters.similarity import compare
from llama_cpp import Llama
from sentence_transformers import SentenceTransformer

from customir.errors import UserError


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / "model"
    shutil.copytree(exported.folder, folder)
    export_gguf(folder)
    return folder


def test_llama_cpp_gives_the_vectors_of_sentence_transformers(
    written: Path, texts: list[str]
) -> None:
    texts = [*texts, "Café naïve, 50% off: see file_name.txt (v2)!", "北京 meeting"]
    expected = SentenceTransformer(str(written), device="cpu").encode(texts)
    assert compare(expected, encode_gguf(written, texts)).min_cosine > 0.999


def test_llama_cpp_cuts_long_texts_by_itself(written: Path) -> None:
    text = "gas contract signed in March by the board " * 200
    (expected,) = SentenceTransformer(str(written), device="cpu").encode([text])
    llama = Llama(str(written / GGUF_NAME), embedding=True, n_ctx=0, verbose=False)
    assert llama.n_ctx() == 256
    vector = np.array(llama.embed(text, normalize=True))
    llama.close()
    assert vector @ expected > 0.999


def test_the_file_is_private_and_its_damage_is_named(written: Path, tmp_path: Path) -> None:
    assert (written / GGUF_NAME).stat().st_mode & 0o777 == 0o600
    spoiled = Path(shutil.copytree(written, tmp_path / "spoiled"))
    content = bytearray((spoiled / GGUF_NAME).read_bytes())
    content[20_000_000] ^= 1
    (spoiled / GGUF_NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"model_f16\.gguf: damaged: its SHA-256"):
        encode_gguf(spoiled, ["lunch?"])
    (spoiled / "gguf" / "SHA256SUMS").unlink()
    (spoiled / GGUF_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"model_f16\.gguf: llama\.cpp cannot load it"):
        encode_gguf(spoiled, ["lunch?"])


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"model_type": "mpnet"}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
    ],
)
def test_what_llama_cpp_cannot_load_is_not_written(
    copied: Path, file: str, changes: dict[str, object]
) -> None:
    config = json.loads((copied / file).read_text())
    (copied / file).write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=r"llama\.cpp has no such embedder"):
        export_gguf(copied)
    assert not (copied / "gguf").exists()
