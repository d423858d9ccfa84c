"""An INT8 file that somebody prepared: it is refused, or it runs, and nothing else happens."""

import random
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from customir.runtime.onnx_file import OnnxFile

CHANGED_MAPS = """
import copy, json, random, sys
from pathlib import Path
from customir.kernels.int8_encoder import METADATA_KEY, Encoder
from customir.runtime.int8_file import UNUSABLE
from customir.runtime.onnx_file import OnnxFile

file = OnnxFile(Path(sys.argv[1]))
tensors, plain = file.tensors(), json.loads(file.notes[METADATA_KEY])
plain["layers"] = plain["layers"][:1]
names, chance = sorted(tensors), random.Random(0)
tensors |= {"nothing": tensors[names[0]][:0]}
Encoder(plain, tensors).encode([[101, 2023, 102]])


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def values():
    yield from (None, True, -1, 0, 1, 5, 7, 11, 513, 2**40, -(2**40), 1e300, "", "nothing", [], {})
    yield from ([names[0]] * 3, chance.choice(names), [chance.choice(names)], [chance.choice(names)] * 3)


tried = [(path, value) for path in places(plain) if path for value in values()]
refused = ran = 0
for path, value in chance.sample(tried, 400):
    changed = copy.deepcopy(plain)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        Encoder(changed, tensors).encode([[101, 2023, 102], [101] * 40, [0]])
        ran += 1
    except (*UNUSABLE, RuntimeError):
        refused += 1
print(refused, ran)
"""


def test_a_changed_weight_map_is_refused_or_run(model: Path) -> None:
    """In a process of its own, since what reads beyond a tensor may end the process."""
    result = subprocess.run(
        [sys.executable, "-c", CHANGED_MAPS, str(model / "onnx" / "model_qint8.onnx")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    refused, ran = map(int, result.stdout.split())
    assert refused > 200
    assert ran > 0  # some changes mean nothing, for instance to the epsilon


def test_changed_bytes_give_an_error_or_tensors(tmp_path: Path) -> None:
    tensors = [
        helper.make_tensor(f"tensor {number}", kind, (2, 3), bytes(6 * size), raw=True)
        for number, (kind, size) in enumerate(
            [(TensorProto.FLOAT, 4), (TensorProto.UINT8, 1), (TensorProto.INT8, 1)]
        )
    ]
    model = helper.make_model(helper.make_graph([], "graph", [], [], tensors))
    model.metadata_props.append(onnx.StringStringEntryProto(key="key", value="value"))
    whole, path, chance = model.SerializeToString(), tmp_path / "file.onnx", random.Random(0)
    path.write_bytes(whole)
    assert set(OnnxFile(path).tensors()) == {"tensor 0", "tensor 1", "tensor 2"}
    errors = 0
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(len(content))] = chance.choice(
                (0, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        path.write_bytes(content[: chance.choice((None, chance.randrange(len(content))))])
        try:
            OnnxFile(path).tensors()
        except ValueError:
            errors += 1
    assert errors > 1000


def test_a_number_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(b"\x80" * 1_000_000)
    with pytest.raises(ValueError, match="no end"):
        OnnxFile(path)
