"""Turns off the telemetry of the libraries that CustomIR uses.

`customir/__init__.py` calls `opt_out`, so no module of this package can be imported without it.
Processes that are started from here inherit the environment.
"""

import os
import sys
import warnings

# ONNX Runtime's Linux wheels (seen in 1.32.0) start a native thread as they are imported. It keeps
# events and an identifier of the device in ~/.cache/Microsoft and sends them to
# mobile.events.data.microsoft.com. It reads this variable once, at its import, and
# `onnxruntime.disable_telemetry_events()` does not stop it.
ONNX_RUNTIME_OPT_OUT = "ORT_DISABLE_TELEMETRY"

OPT_OUTS = {
    ONNX_RUNTIME_OPT_OUT: "1",
    # huggingface_hub reads each of these three.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def opt_out() -> None:
    """Set each library's variable against telemetry, whatever it was set to before.

    Warns where ONNX Runtime was imported earlier without its variable, because its telemetry then
    runs already and nothing in this process can end it.
    """
    if "onnxruntime" in sys.modules and os.environ.get(ONNX_RUNTIME_OPT_OUT) != "1":
        warnings.warn(
            "onnxruntime was imported before customir, so its telemetry to Microsoft is running. "
            f"Set {ONNX_RUNTIME_OPT_OUT}=1 in the environment, or import customir first.",
            RuntimeWarning,
            stacklevel=2,
        )
    os.environ.update(OPT_OUTS)
