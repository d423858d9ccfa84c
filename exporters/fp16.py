"""Conversion of an exported ONNX model to half precision, for a GPU."""

from pathlib import Path

from customir.exporters.onnx import FP32_NAME, ONNX_FOLDER, quiet, scratch_folder
from customir.exporters.onnx_store import place, save
from onnxruntime.transformers.float16 import convert_float_to_float16

from customir.errors import UserError

FP16_NAME = "model_fp16.onnx"


def export_fp16(model: Path) -> Path:
    """Write model/onnx/model_fp16.onnx from model/onnx/model.onnx: same inputs, float32 outputs.

    On a CPU it gives the same vectors more slowly, because ONNX Runtime converts to float32 and
    back.

    Raises:
        UserError: there is no exported model.
    """
    exported = model / ONNX_FOLDER / FP32_NAME
    if not exported.exists():
        raise UserError(f"{exported}: missing. Export the model first.")
    with scratch_folder(model / ".fp16.part") as scratch, quiet():
        made = scratch / FP16_NAME
        # From a path, shapes are inferred without a copy of the weights in one message.
        save(convert_float_to_float16(str(exported), keep_io_types=True), made)
        return place(made, model / ONNX_FOLDER / FP16_NAME)
