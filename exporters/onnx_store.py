"""Saving and moving ONNX files, whose weights are in a second file if they are large.

Protobuf, and so a file in ONNX, ends at 2 GB. Beyond that, ONNX has the weights in another file
("external data", https://onnx.ai/onnx/repo-docs/ExternalData.html): NAME.data beside NAME.
"""

import os
from pathlib import Path

import onnx

from customir.files import fsync, make_private_folder, sha256_of, write_atomically
from customir.runtime.embedder import CHECKSUMS_NAME, data_file

# Bytes of weights in one file; the rest of the graph has to fit below protobuf's 2 GB, too.
MAX_BYTES = 2**31 - 2**26
SMALLEST_EXTERNAL = 1024  # bytes; smaller tensors stay in the graph


def save(model: onnx.ModelProto, path: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Write a model that is in memory as a whole; return `path`.

    Args:
        max_bytes: With more bytes of weights than this, they are written to `data_file(path)`.
    """
    data_file(path).unlink(missing_ok=True)  # onnx would append to it
    if weight_bytes(model) <= max_bytes:
        onnx.save(model, path)
    else:
        onnx.save(
            model,
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=data_file(path).name,
            size_threshold=SMALLEST_EXTERNAL,
        )
    return path


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the model's initializers."""
    return sum(len(each.raw_data) or each.ByteSize() for each in model.graph.initializer)


def place(made: Path, path: Path) -> Path:
    """Move a finished file, with its data file, to `path`, make both private, record checksums.

    A file with a data file has to have its final name already, because it contains the other's name.
    A process that reads `path` meanwhile finds the old file, the new one, or a checksum that does
    not match.
    """
    make_private_folder(path.parent)
    # Between these steps a checksum is missing, but never wrong.
    for file in (path, data_file(path)):
        record_checksum(path.parent, file.name, None)
    data_file(path).unlink(missing_ok=True)
    for source, target in ((data_file(made), data_file(path)), (made, path)):
        if source.exists():
            source.chmod(0o600)
            fsync(source)
            os.replace(source, target)
            record_checksum(path.parent, target.name, sha256_of(target))
    return path


def record_checksum(folder: Path, name: str, checksum: str | None) -> None:
    """Set or remove the line of `name` in the folder's SHA256SUMS, for `sha256sum --check`."""
    sums = folder / CHECKSUMS_NAME
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    lines = [line for line in lines if line.partition("  ")[2] != name]
    if checksum is not None:
        lines.append(f"{checksum}  {name}")
    write_atomically(sums, "".join(f"{line}\n" for line in sorted(lines)).encode())
