"""The attention kernel for arm64: cross-compiled, and run in an emulator, against the formula."""

from pathlib import Path

import pytest
from arm64 import on_arm64, run_on_arm64

pytestmark = pytest.mark.slow

COMPARE = """
#include <cstdio>
#include <random>

int main() {
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  const int64_t lengths[] = {70, 17, 4, 1}, heads = 2, width = 16, all = heads * width, rows = 92;
  std::vector<float> joint(rows * 3 * all), context(rows * all), towards(rows * all), to(3 * rows * all);
  for (float &number : joint) number = normal(random);
  for (float &number : towards) number = normal(random);
  const auto attend = [&](const float *gradient) {
    return customir_attention(nullptr, lengths, 4, heads, width, nullptr, 0, 0, joint.data(),
                              context.data(), gradient, to.data(), 2);
  };
  if (attend(nullptr)) return 1;
  for (int64_t text = 0, start = 0; text < 4; start += lengths[text++])
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < lengths[text]; ++i) {
        double sum = 0, made[16] = {};
        for (int64_t j = 0; j < lengths[text]; ++j) {
          const float *q = &joint[(start + i) * 3 * all + head * width];
          const float *k = &joint[(start + j) * 3 * all + all + head * width];
          double score = 0;
          for (int64_t n = 0; n < width; ++n) score += double(q[n]) * k[n] / 4;
          sum += std::exp(score);
          for (int64_t n = 0; n < width; ++n) made[n] += std::exp(score) * k[all + n];
        }
        for (int64_t n = 0; n < width; ++n)
          if (std::abs(made[n] / sum - context[(start + i) * all + head * width + n]) > 1e-5) return 2;
      }
  // A step along the gradient changes the inner product with `towards` by its square.
  if (attend(towards.data())) return 3;
  double square = 0, before = 0, after = 0;
  for (size_t n = 0; n < context.size(); ++n) before += double(context[n]) * towards[n];
  for (size_t n = 0; n < to.size(); ++n) {
    square += double(to[n]) * to[n];
    joint[n] += 1e-3f * to[n];
  }
  if (attend(nullptr)) return 4;
  for (size_t n = 0; n < context.size(); ++n) after += double(context[n]) * towards[n];
  if (std::abs((after - before) / (1e-3 * square) - 1) > 2e-2) return 5;
  std::puts(customir_attention_kernel(nullptr, 0, 16));
}
"""


@on_arm64
def test_value_and_gradient_on_arm64(tmp_path: Path) -> None:
    done = run_on_arm64("attention/attention.cpp", COMPARE, tmp_path)
    assert (done.returncode, done.stdout) == (0, "portable\n"), done.stderr
