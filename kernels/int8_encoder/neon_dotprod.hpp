// The encoder by NEON with SDOT, which multiplies signed bytes. An input with its top bit flipped is that input less
// 128, so each sum begins with 128 times the sum of its column.

#pragma once

#include "neon.hpp"

namespace {
namespace int8_neon_dotprod {

// ROWS rows by 16 columns, whose sums of weights are `sums`.
template <int ROWS>
TARGET_NEON_DOTPROD INLINE void multiply_tile(const uint8_t *left, const int8_t *right, const float *sums,
                                              int64_t depth, int32_t *out) {
  constexpr int VECTORS = 4;  // of four columns
  int32x4_t products[ROWS][VECTORS];
  for (int j = 0; j < VECTORS; ++j) {
    const int32x4_t offset = vshlq_n_s32(vcvtq_s32_f32(vld1q_f32(sums + 4 * j)), 7);
    for (int i = 0; i < ROWS; ++i) products[i][j] = offset;
  }
  for (int64_t k = 0; k < depth; k += 16) {
    int8x16_t inputs[ROWS];
    for (int i = 0; i < ROWS; ++i)
      inputs[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(left + i * depth + k), vdupq_n_u8(0x80)));
    const int8_t *weights = right + k * PACKED_COLUMNS;
#define STEP(LANE)                                                                        \
  for (int j = 0; j < VECTORS; ++j) {                                                     \
    const int8x16_t columns = vld1q_s8(weights + (LANE * VECTORS + j) * 16);              \
    for (int i = 0; i < ROWS; ++i)                                                        \
      products[i][j] = vdotq_laneq_s32(products[i][j], columns, inputs[i], LANE);         \
  }
    STEP(0)
    STEP(1)
    STEP(2)
    STEP(3)
#undef STEP
  }
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < VECTORS; ++j) vst1q_s32(out + i * BLOCK + 4 * j, products[i][j]);
}

TARGET_NEON_DOTPROD void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows,
                                  int32_t *out) {
  constexpr int ROWS = 4;
  const int64_t depth = matrix.depth;
  for (int64_t half = 0; half < BLOCK; half += PACKED_COLUMNS)
    for (int64_t row = 0; row < rows; row += ROWS)
      multiply_tile<ROWS>(left + row * depth, matrix.weights + (column + half) * depth,
                          matrix.sums + column + half, depth, out + row * BLOCK + half);
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  int8_neon::encode<float>(encoder, batch, ids, multiply, int8_neon::attend, out);
}

}  // namespace int8_neon_dotprod
}  // namespace
