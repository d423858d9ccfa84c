"""The model hub: which files a repository has, and their download, by the hub's own client.

The client takes its address from HF_ENDPOINT, a proxy from HTTPS_PROXY, and a token for models whose
licence has to be accepted from HF_TOKEN. It continues a download that was interrupted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from customir.errors import UserError

# Read by the client when it is imported. Without Xet a download is plain HTTP, which mirrors and
# proxies understand and which continues in the middle of a file.
WITHOUT_XET = "HF_HUB_DISABLE_XET"
# What is taken from a repository: weights, configurations, vocabularies and the model card.
SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".md")
# Folders of other formats of the same weights.
LEFT_OUT = ("onnx", "openvino", "coreml", "flax", "tf")
TIMEOUT_SECONDS = 30


class HubError(Exception):
    """The hub does not give what was asked for; the message says why.

    Attributes:
        is_unreachable: Whether the hub did not answer at all.
    """

    def __init__(self, message: str, is_unreachable: bool) -> None:
        super().__init__(message)
        self.is_unreachable = is_unreachable


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        size: Bytes; None if the hub does not say.
        sha256: As the hub states it, which it does for large files.
    """

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository in one commit."""

    commit: str
    files: tuple[HubFile, ...]


def endpoint() -> str:
    """The address of the hub."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def list_files(repository: str, revision: str | None) -> Listing:
    """The files of a repository, at a revision or at its newest commit.

    Raises:
        HubError: the hub cannot be reached, or does not have them.
    """
    with _errors_of_client() as client:
        found = client.HfApi(endpoint=endpoint()).model_info(
            repository, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
        )
    files = tuple(
        HubFile(each.rfilename, each.size, getattr(each.lfs, "sha256", None) if each.lfs else None)
        for each in found.siblings or ()
    )
    return Listing(str(found.sha), files)


def download(repository: str, file: str, revision: str, folder: Path) -> Path:
    """Download a file below `folder`, or continue its download; return where it is.

    Raises:
        HubError: the hub cannot be reached, or does not have it.
    """
    with _errors_of_client() as client:
        path = client.hf_hub_download(
            repository, file, revision=revision, local_dir=folder, endpoint=endpoint()
        )
        return Path(path)


def safe_files(listing: Listing, repository: str, file: str | None) -> tuple[HubFile, ...]:
    """The files to take: `file` alone, or else all that can be loaded without running code.

    Raises:
        UserError: there is no such file, or there are no weights in safetensors.
    """
    where = f"{repository} at commit {listing.commit[:12]}"
    if file is not None:
        chosen = tuple(each for each in listing.files if each.path == file)
        if not chosen:
            available = [each.path for each in listing.files if each.path.endswith(".gguf")]
            raise UserError(
                f"{where}: it has no {file}. GGUF files there: {', '.join(available) or 'none'}"
            )
        return chosen
    chosen = tuple(each for each in listing.files if _is_safe(PurePosixPath(each.path)))
    if not any(each.path.endswith(".safetensors") for each in chosen):
        raise UserError(
            f"{where}: it has no weights in safetensors, and weights in other formats, which can "
            "run code when they are loaded, are not fetched. Choose another model, or name one GGUF "
            f"file for an LLM: hf:{repository}/FILE.gguf"
        )
    return chosen


def _is_safe(path: PurePosixPath) -> bool:
    return (
        path.suffix in SUFFIXES
        and not path.is_absolute()
        and ".." not in path.parts
        and not any(part.startswith(".") or part in LEFT_OUT for part in path.parts)
    )


@contextmanager
def _errors_of_client() -> Iterator[Any]:
    """The hub's client; its errors, and those of the HTTP library below it, become HubError."""
    os.environ.setdefault(WITHOUT_XET, "1")
    try:
        import huggingface_hub
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
    except ImportError as error:
        raise HubError(
            "its client is not installed (pip install huggingface_hub)", False
        ) from error
    try:
        yield huggingface_hub
    except OSError as error:
        if error.errno is not None and not hasattr(error, "request"):
            raise  # a full disk, for example
        if isinstance(error, GatedRepoError):
            reason = (
                "its licence has to be accepted on the hub's page first; then set HF_TOKEN to an "
                "access token of that account"
            )
            raise HubError(reason, False) from error
        if isinstance(error, HfHubHTTPError):
            raise HubError(_reason(error), False) from error
        raise HubError(_reason(_first_cause(error)), True) from error
    except Exception as error:  # errors of two HTTP libraries, and of names that are no names
        raise HubError(_reason(error), False) from error


def _first_cause(error: BaseException) -> BaseException:
    """What a library's error about a connection began with."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300].rstrip('.')}" if lines else repr(error)
