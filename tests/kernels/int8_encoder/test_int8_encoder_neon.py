"""The INT8 encoder for arm64: cross-compiled, and run in an emulator, against the reference in numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arm64 import on_arm64, run_on_arm64
from customir.kernels.int8_encoder import reference

pytestmark = pytest.mark.slow

# The inner width is no multiple of the width, so the feed-forward block has one part, as in MAIN.
WIDTH, INNER, HEADS, VOCABULARY, POSITIONS = 128, 192, 4, 50, 40
TEXTS = ([1], [2, 3], list(range(5, 38)), [7] * 40)

# Reads the model from its file, in the order in which `write` puts the arrays, and prints the vectors.
MAIN = """
#include <cstdio>
#include <fstream>

constexpr int64_t WIDTH = 128, INNER = 192, HEADS = 4, VOCABULARY = 50, POSITIONS = 40;

std::ifstream input;

template <typename Number>
const Number *read(int64_t count) {
  Number *numbers = new Number[size_t(count)];
  input.read(reinterpret_cast<char *>(numbers), std::streamsize(count * sizeof(Number)));
  return numbers;
}

Matrix read_matrix(const char *kernel, int64_t depth, int64_t columns) {
  const int8_t *weights = read<int8_t>(depth * columns);
  float *sums = new float[size_t(columns)]();
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t column = 0; column < columns; ++column) sums[column] += weights[k * columns + column];
  int8_t *packed = new int8_t[size_t(customir_int8_encoder_packed_size(kernel, 32, weights, depth, columns))];
  customir_int8_encoder_pack(kernel, 32, weights, depth, columns, packed);
  const float *scales = read<float>(columns), *bias = read<float>(columns), *inputs = read<float>(depth);
  return {packed, scales, sums, bias, inputs, depth, columns};
}

LayerNorm read_norm() {
  const float *weight = read<float>(WIDTH), *bias = read<float>(WIDTH);
  return {weight, bias};
}

int main() {
  for (const char *kernel : {"neon_dotprod", "neon_i8mm"}) {
    input = std::ifstream("FILE", std::ios::binary);
    Encoder encoder{};
    encoder.word_embeddings = read<uint8_t>(VOCABULARY * WIDTH);
    encoder.word_scale = 0.01f, encoder.word_zero = 128;
    encoder.positions = read<float>(POSITIONS * WIDTH);
    encoder.embedding_norm = read_norm();
    Layer layer{};
    layer.qkv = read_matrix(kernel, WIDTH, 3 * WIDTH);
    layer.attention_output = read_matrix(kernel, WIDTH, WIDTH);
    layer.attention_norm = read_norm();
    const Matrix intermediate = read_matrix(kernel, WIDTH, INNER), output = read_matrix(kernel, INNER, WIDTH);
    layer.intermediate = &intermediate, layer.output = &output, layer.parts = 1;
    layer.output_norm = read_norm();
    encoder.layers = &layer;
    encoder.vocabulary = VOCABULARY, encoder.max_tokens = POSITIONS, encoder.width = WIDTH, encoder.heads = HEADS;
    encoder.layer_count = 1, encoder.epsilon = 1e-12f;
    const int32_t *ids = read<int32_t>(76);
    const int64_t lengths[] = {1, 2, 33, 40};
    float vectors[4 * WIDTH];
    if (const int32_t status = customir_int8_encode(&encoder, kernel, ids, lengths, 4, vectors)) return -status;
    for (const float number : vectors) std::printf("%.9g ", number);
  }
}
"""


def small_model() -> tuple[dict[str, Any], dict[str, np.ndarray], list[np.ndarray]]:
    """A weight map, its tensors, and the arrays as `MAIN` reads them."""
    chance = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    order: list[np.ndarray] = []

    def add(name: str, numbers: np.ndarray) -> str:
        tensors[name] = numbers
        order.append(numbers)
        return name

    def floats(name: str, *shape: int, around: float = 0) -> str:
        return add(name, (around + 0.1 * chance.normal(size=shape)).astype(np.float32))

    def linear(name: str, depth: int, columns: int) -> dict[str, Any]:
        weights = np.clip(np.rint(chance.normal(0, 20, (depth, columns))), -64, 64)
        return {
            "weights": [add(f"{name}.w", weights.astype(np.int8))],
            "scales": [floats(f"{name}.s", columns, around=0.01)],
            "bias": [floats(f"{name}.b", columns)],
            "input_scales": floats(f"{name}.i", depth, around=1),
        }

    def norm(name: str) -> list[str]:
        return [floats(f"{name}.weight", WIDTH, around=1), floats(f"{name}.bias", WIDTH)]

    tensors |= {
        "scale": np.float32(0.01),
        "zero": np.uint8(128),
        "one": np.float32(1),
        "none": np.float32(0),
        "types": np.zeros((1, WIDTH), np.float32),
    }
    words = chance.integers(0, 256, (VOCABULARY, WIDTH)).astype(np.uint8)
    weight_map = {
        "word_embeddings": [add("words", words), "scale", "zero"],
        "position_embeddings": [floats("positions", POSITIONS, WIDTH), "one", "none"],
        "token_type_embeddings": ["types", "one", "none"],
        "embedding_norm": norm("embedding_norm"),
        "layers": [
            {
                "qkv": linear("qkv", WIDTH, 3 * WIDTH),
                "attention_output": linear("attention_output", WIDTH, WIDTH),
                "attention_norm": norm("attention_norm"),
                "intermediate": linear("intermediate", WIDTH, INNER),
                "output": linear("output", INNER, WIDTH),
                "output_norm": norm("output_norm"),
            }
        ],
        "first_position": 0,
        "heads": HEADS,
        "epsilon": 1e-12,
        "pooling": "mean",
    }
    return weight_map, tensors, order


@on_arm64
def test_vectors_are_those_of_the_reference(tmp_path: Path) -> None:
    weight_map, tensors, order = small_model()
    ids = np.array([one for text in TEXTS for one in text], np.int32)
    (tmp_path / "model").write_bytes(b"".join(array.tobytes() for array in (*order, ids)))
    main = MAIN.replace("FILE", str(tmp_path / "model"))
    done = run_on_arm64("int8_encoder/int8_encoder.cpp", main, tmp_path)
    assert done.returncode == 0, done.stderr
    dotprod, i8mm = np.array(done.stdout.split(), np.float64).reshape(2, len(TEXTS), WIDTH)
    assert np.array_equal(dotprod, i8mm), "the same integers, and the same code for all else"
    for text, vector in zip(TEXTS, dotprod, strict=True):
        assert vector @ reference.encode(tensors, weight_map, text) > 0.9999
