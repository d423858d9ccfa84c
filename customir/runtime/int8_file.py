"""INT8 files that CustomIR's own kernel can run instead of ONNX Runtime.

The metadata of such a file hold a weight map (`customir.exporters.weight_map`): which of its tensors is
what. The weights are those that ONNX Runtime multiplies; what they multiply is quantised token by token
(kernels/int8_encoder), where ONNX Runtime has one scale for a whole batch.
"""

import json
import logging
import os
from pathlib import Path

from customir.errors import UserError
from customir.kernels.int8_encoder import FORMAT, METADATA_KEY, Encoder, is_compiled
from customir.runtime.onnx_file import OnnxFile

# Names a kernel that is to be used instead of the fastest one, for tests and measurements.
KERNEL_VARIABLE = "CUSTOMIR_INT8_KERNEL"

# What a map or a tensor that is not as it should be can lead to; nobody has to be able to trust a file.
UNUSABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)

log = logging.getLogger(__name__)


def read_encoder(path: Path) -> Encoder | None:
    """The encoder of an INT8 file; None if ONNX Runtime has to run it.

    Raises:
        OSError: the file cannot be read.
        UserError: this processor cannot run the kernel that CUSTOMIR_INT8_KERNEL names.
    """
    forced = os.environ.get(KERNEL_VARIABLE) or None
    if not is_compiled():
        return None
    try:
        file = OnnxFile(path)
        weight_map = json.loads(file.notes.get(METADATA_KEY, "{}"))
        if weight_map.get("format") != FORMAT:
            return None
        return Encoder(weight_map, file.tensors(), forced)
    except RuntimeError as error:  # this processor has no kernel
        if forced:
            raise UserError(f"{KERNEL_VARIABLE}: this processor cannot run {forced}.") from error
        return None
    except UNUSABLE as error:
        log.warning(
            "%s: its weight map is not usable (%r). ONNX Runtime runs the file.", path, error
        )
        return None
