"""No library sends telemetry, each time in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The cache appears with the import, long before the first attempt to connect.
USES_ONNX_RUNTIME = "import time, onnxruntime; time.sleep(1)"


def run_python(code: str, home: Path) -> str:
    """Standard error of `code`, run in `home` without variables of ours."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        # Nothing else: ONNX Runtime is silent where a variable tells that this is CI.
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stderr


@pytest.mark.parametrize(
    "imports",
    [
        "import customir",
        "from customir.runtime import Embedder",
        "import customir.exporters.int8",
        "import subprocess, sys, customir; "
        f"subprocess.run([sys.executable, '-c', {USES_ONNX_RUNTIME!r}], check=True)",
    ],
)
@pytest.mark.slow
def test_onnx_runtime_keeps_no_events(tmp_path: Path, imports: str) -> None:
    run_python(f"{imports}\n{USES_ONNX_RUNTIME}", tmp_path)
    assert not (tmp_path / ".cache" / "Microsoft").exists()


def test_onnx_runtime_imported_too_early_is_told(tmp_path: Path) -> None:
    said = run_python("import onnxruntime\nimport customir", tmp_path)
    assert "RuntimeWarning: onnxruntime was imported before customir" in said
    # This also shows that the cache is what the test above has to look for.
    if sys.platform == "linux":
        assert (tmp_path / ".cache" / "Microsoft").exists()


def test_variables_of_the_user_do_not_turn_it_on() -> None:
    code = "import customir, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
