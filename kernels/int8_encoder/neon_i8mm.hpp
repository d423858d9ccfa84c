// The encoder by NEON with USMMLA, which multiplies two rows of eight unsigned bytes with two columns of eight signed
// ones.

#pragma once

#include "neon.hpp"

namespace {
namespace int8_neon_i8mm {

constexpr int64_t PAIR_DEPTH = 8;

// For each 16 columns and each 8 of the depth, the numbers of one column stand together.
void pack(const int8_t *weights, int64_t depth, int64_t columns, int8_t *out) {
  for (int64_t column = 0; column < columns; column += PACKED_COLUMNS)
    for (int64_t k = 0; k < depth; k += PAIR_DEPTH)
      for (int64_t j = 0; j < PACKED_COLUMNS; ++j)
        for (int64_t i = 0; i < PAIR_DEPTH; ++i) *out++ = weights[(k + i) * columns + column + j];
}

// 2 * PAIRS rows by 8 columns, of which `right` has the first of 16.
template <int PAIRS>
TARGET_NEON_I8MM INLINE void multiply_tile(const uint8_t *left, const int8_t *right, int64_t depth, int32_t *out) {
  constexpr int COLUMN_PAIRS = 4;
  int32x4_t products[PAIRS][COLUMN_PAIRS];
  for (int i = 0; i < PAIRS; ++i)
    for (int j = 0; j < COLUMN_PAIRS; ++j) products[i][j] = vdupq_n_s32(0);
  for (int64_t k = 0; k < depth; k += PAIR_DEPTH) {
    uint8x16_t inputs[PAIRS];
    for (int i = 0; i < PAIRS; ++i)
      inputs[i] = vcombine_u8(vld1_u8(left + 2 * i * depth + k), vld1_u8(left + (2 * i + 1) * depth + k));
    for (int j = 0; j < COLUMN_PAIRS; ++j) {
      const int8x16_t columns = vld1q_s8(right + k * PACKED_COLUMNS + 16 * j);
      for (int i = 0; i < PAIRS; ++i) products[i][j] = vusmmlaq_s32(products[i][j], inputs[i], columns);
    }
  }
  for (int i = 0; i < PAIRS; ++i)
    for (int j = 0; j < COLUMN_PAIRS; ++j) {
      vst1_s32(out + 2 * i * BLOCK + 2 * j, vget_low_s32(products[i][j]));
      vst1_s32(out + (2 * i + 1) * BLOCK + 2 * j, vget_high_s32(products[i][j]));
    }
}

TARGET_NEON_I8MM void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows, int32_t *out) {
  constexpr int PAIRS = 4;
  constexpr int64_t COLUMNS = 8;
  const int64_t depth = matrix.depth;
  for (int64_t part = 0; part < BLOCK; part += COLUMNS) {
    const int64_t first = column + part / PACKED_COLUMNS * PACKED_COLUMNS;
    const int8_t *right = matrix.weights + first * depth + part % PACKED_COLUMNS * PAIR_DEPTH;
    for (int64_t row = 0; row < rows; row += 2 * PAIRS)
      multiply_tile<PAIRS>(left + row * depth, right, depth, out + row * BLOCK + part);
  }
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  int8_neon::encode<float>(encoder, batch, ids, multiply, int8_neon::attend, out);
}

}  // namespace int8_neon_i8mm
}  // namespace
