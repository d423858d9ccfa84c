"""Compiled libraries: one of another version is refused, and structures are as C++ has them."""

import ctypes
import logging
import shutil
import subprocess
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from customir.kernels import native
from customir.kernels.int8_encoder import binding as int8_encoder
from customir.kernels.native import ABI_VERSION, load_library
from customir.kernels.scan import binding as scan

pytestmark = pytest.mark.slow

KERNELS = Path(__file__).parent.parent.parent / "kernels"
COMPILER = shutil.which("c++") or shutil.which("g++")
compiled = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


def compile_library(source: Path, folder: Path, *options: str) -> Path:
    path = folder / f"_kernel{EXTENSION_SUFFIXES[0]}"
    command = [str(COMPILER), "-std=c++17", "-shared", "-fPIC", *options, str(source), "-o", path]
    subprocess.run(command, check=True)
    return path


@compiled
def test_a_library_of_another_version_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = compile_library(KERNELS / "scan" / "scan.cpp", tmp_path, "-DABI_VERSION=99")
    with caplog.at_level(logging.WARNING):
        assert load_library(tmp_path, "_kernel") is None
    assert f"{path} was compiled from another version" in caplog.text
    assert f"(ABI 99 instead of {ABI_VERSION})" in caplog.text
    assert "Install CustomIR again" in caplog.text


@compiled
def test_a_library_from_before_there_were_versions_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "old.cpp"
    source.write_text('extern "C" int customir_top_k() { return 0; }')
    compile_library(source, tmp_path)
    assert load_library(tmp_path, "_kernel") is None
    assert "ABI unknown" in caplog.text


@compiled
def test_the_current_version_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    compile_library(KERNELS / "scan" / "scan.cpp", tmp_path)
    library = load_library(tmp_path, "_kernel")
    assert library is not None
    assert library.customir_abi_version() == ABI_VERSION
    assert not caplog.text


def test_a_file_that_is_no_library_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"_kernel{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    assert load_library(tmp_path, "_kernel") is None
    assert "cannot be loaded" in caplog.text
    assert native.load_library(tmp_path / "nowhere", "_kernel") is None


@compiled
def test_structures_are_laid_out_as_in_cpp(tmp_path: Path) -> None:
    """A field that is added on one side alone would shift all that follow."""
    sizes = {
        "scan/scan.cpp": {"Vectors": scan._Vectors},
        "int8_encoder/int8_encoder.cpp": {
            "Matrix": int8_encoder._Matrix,
            "LayerNorm": int8_encoder._LayerNorm,
            "Layer": int8_encoder._Layer,
            "Encoder": int8_encoder._Encoder,
        },
    }
    for file, structures in sizes.items():
        checks = "".join(
            f"static_assert(sizeof({name}) == {ctypes.sizeof(structure)});\n"
            + "".join(
                f"static_assert(offsetof({name}, {field}) == {getattr(structure, field).offset});\n"
                for field, *_ in structure._fields_
            )
            for name, structure in structures.items()
        )
        source = tmp_path / "check.cpp"
        source.write_text(f'#include <cstddef>\n#include "{KERNELS / file}"\n{checks}')
        subprocess.run([str(COMPILER), "-std=c++17", "-fsyntax-only", str(source)], check=True)
