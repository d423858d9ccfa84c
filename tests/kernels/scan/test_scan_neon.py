"""The scan kernel for arm64: cross-compiled, and run in an emulator, against its portable path."""

from pathlib import Path

import pytest
from arm64 import on_arm64, run_on_arm64

pytestmark = pytest.mark.slow

COMPARE = """
#include <cstdio>
#include <random>

int main() {
  std::mt19937 random(0);
  const int64_t rows = 1001, count = 5, k = 40;
  for (const int64_t width : {64, 384, 4096}) for (const int bits : {8, 2}) {
    std::vector<int8_t> matrix(rows * width), queries(count * width * 8 / bits);
    for (auto *numbers : {&matrix, &queries})
      for (int8_t &number : *numbers) number = int8_t(random());
    for (int64_t i = 0; i < width; ++i) matrix[i] = queries[i] = -128;
    std::vector<uint8_t> allowed(rows);
    for (uint8_t &each : allowed) each = random() % 2;
    std::vector<int64_t> found[2];
    std::vector<int32_t> scores[2];
    const char *names[2] = {"neon", "portable"};
    for (int i = 0; i < 2; ++i) {
      found[i].resize(count * k);
      scores[i].resize(count * k);
      if (customir_top_k(names[i], matrix.data(), rows, width, bits, allowed.data(),
                           queries.data(), count, k, 2, found[i].data(), scores[i].data()))
        return 1;
    }
    if (found[0] != found[1] || scores[0] != scores[1]) return 2;
  }
  // Of one query by two bits and then by two more, of many by four at once: the same, if all are chosen first.
  const int64_t width = 96, dimensions = 384, many = 5, few = 20;
  std::vector<int8_t> coarse(rows * width), fine(rows * width);
  for (auto *numbers : {&coarse, &fine})
    for (int8_t &number : *numbers) number = int8_t(random());
  std::vector<float> floats(rows * dimensions), asked(many * dimensions);
  for (auto *numbers : {&floats, &asked})
    for (float &number : *numbers) number = float(int32_t(random())) / 1e9f;
  for (const char *name : {"neon", "portable"}) {
    std::vector<int64_t> together(many * few), alone(many * few);
    std::vector<float> products(many * few);
    const auto nearest = [&](int64_t from, int64_t number, int64_t *out) {
      const Vectors vectors{coarse.data(), fine.data(), rows,       width, 2, nullptr,
                            floats.data(), nullptr,     dimensions, nullptr};
      return customir_nearest(&vectors, name, nullptr, &asked[from * dimensions], number, rows, few,
                              1, out, products.data());
    };
    if (nearest(0, many, together.data())) return 3;
    for (int64_t query = 0; query < many; ++query)
      if (nearest(query, 1, &alone[query * few])) return 4;
    if (together != alone) return 5;
  }
  std::puts(customir_scan_kernel(nullptr));
}
"""


@on_arm64
def test_neon_gives_what_the_portable_path_gives(tmp_path: Path) -> None:
    done = run_on_arm64("scan/scan.cpp", COMPARE, tmp_path)
    assert (done.returncode, done.stdout) == (0, "neon\n"), done.stderr
