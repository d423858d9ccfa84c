"""A model folder whose vectors are cut to their first dimensions (Matryoshka).

Kusupati et al. 2022, "Matryoshka Representation Learning" (arXiv 2205.13147).
"""

import json
import os
from pathlib import Path

from customir.encoder.folder import PROMPTS_NAME, read_json
from customir.files import make_private_folder, write_atomically


def truncated_folder(base: Path, dimensions: int, out: Path) -> Path:
    """Make `out` the model in `base` with `truncate_dim` set; return `out`.

    Its files are links to those of `base`, except for the one that states the dimensions. What `out`
    has already is not made again, so a reader of `out` is not disturbed.
    """
    make_private_folder(out)
    wanted = {
        path.relative_to(base): path.resolve()
        for path in sorted(base.rglob("*"))
        if path.is_file() and path.relative_to(base) != Path(PROMPTS_NAME)
    }
    for name, target in wanted.items():
        _link(out / name, target)
    for path in out.rglob("*"):
        if path.is_symlink() and path.relative_to(out) not in wanted:
            path.unlink()  # of another base
    about = read_json(base / PROMPTS_NAME, {}) | {"truncate_dim": dimensions}
    if read_json(out / PROMPTS_NAME, {}) != about:
        write_atomically(out / PROMPTS_NAME, json.dumps(about, indent=1).encode())
    return out


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, path)
