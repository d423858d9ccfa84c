"""Products of integers by every instruction set, exactly: extremes, and weights that overflow 16 bits."""

import shutil
import subprocess
from pathlib import Path

import pytest
from arm64 import KERNELS, on_arm64, run_on_arm64

COMPILER = shutil.which("c++") or shutil.which("g++")

# Of each kernel of this processor: every product of random and extreme inputs and weights is compared.
COMPARE = """
#include <cstdio>
#include <random>

struct Case {
  const char *name;
  Multiply multiply;
  bool (*is_supported)();
};

const Case CASES[] = {
#if defined(__x86_64__)
    {"avx512_vnni", int8_avx512_vnni::multiply, has_avx512_vnni},
    {"avx_vnni", int8_avx_vnni::multiply, has_avx_vnni},
    {"avx2", int8_avx2::multiply, has_avx2},
#else
    {"neon_i8mm", int8_neon_i8mm::multiply, has_neon_i8mm},
    {"neon_dotprod", int8_neon_dotprod::multiply, has_neon_dotprod},
#endif
};

int main() {
  std::mt19937 random(0);
  const int64_t depth = 192, columns = 64;
  for (const Case &one : CASES) {
    if (!one.is_supported()) continue;
    for (const int limit : {64, 128}) {
      std::vector<int8_t> weights(depth * columns);
      std::vector<uint8_t> left((BLOCK + 16) * depth);
      for (auto &weight : weights) {
        const int number = int(random() % unsigned(2 * limit)) - limit;
        weight = int8_t(random() % 3 ? number : random() % 2 ? limit - 1 : -limit);
      }
      for (int64_t k = 0; k < depth; ++k)  // columns of one sign alone: the largest sums
        for (int64_t column = 0; column < 4; ++column)
          weights[k * columns + column] = int8_t(column % 2 ? -limit : limit - 1);
      for (auto &number : left) number = random() % 3 ? 255 : uint8_t(random());
      std::vector<float> sums(columns);
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t column = 0; column < columns; ++column) sums[column] += weights[k * columns + column];
      const int64_t size = customir_int8_encoder_packed_size(one.name, 32, weights.data(), depth, columns);
      std::vector<int8_t> packed(size);
      customir_int8_encoder_pack(one.name, 32, weights.data(), depth, columns, packed.data());
      const Matrix matrix{packed.data(), nullptr, sums.data(), nullptr, nullptr, depth, columns};
      alignas(64) int32_t out[BLOCK * BLOCK];
      for (int64_t rows = 1; rows <= BLOCK; ++rows)
        for (int64_t first = 0; first < columns; first += BLOCK) {
          one.multiply(left.data(), matrix, first, rows, out);
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t column = 0; column < BLOCK; ++column) {
              int32_t sum = 0;
              for (int64_t k = 0; k < depth; ++k)
                sum += left[row * depth + k] * weights[k * columns + first + column];
              if (out[row * BLOCK + column] != sum) return std::printf("%s is wrong", one.name), 1;
            }
        }
    }
    std::printf("%s ", one.name);
  }
}
"""


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
@pytest.mark.slow
def test_products_are_exact(tmp_path: Path) -> None:
    source, program = tmp_path / "compare.cpp", tmp_path / "compare"
    source.write_text(f'#include "{KERNELS / "int8_encoder" / "int8_encoder.cpp"}"\n{COMPARE}')
    command = [str(COMPILER), "-O2", "-std=c++17", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@on_arm64
@pytest.mark.parametrize(
    ("cpu", "kernels"),
    [("max", "neon_i8mm neon_dotprod "), ("neoverse-n1", "neon_dotprod "), ("cortex-a72", "")],
)
def test_products_are_exact_on_arm64(tmp_path: Path, cpu: str, kernels: str) -> None:
    done = run_on_arm64("int8_encoder/int8_encoder.cpp", COMPARE, tmp_path, cpu)
    assert (done.returncode, done.stdout) == (0, kernels), done.stdout + done.stderr
