// The encoder by AVX2 with VNNI of 256 bits. All but the product of integers is as in avx2.hpp.

#pragma once

#include "avx2.hpp"

namespace {
namespace int8_avx_vnni {

// ROWS rows by 16 columns.
template <int ROWS>
TARGET_AVX_VNNI INLINE void multiply_tile(const uint8_t *left, const int8_t *right, int64_t depth, int32_t *out) {
  __m256i sums[ROWS][2] = {};
  for (int64_t k = 0; k < depth; k += PACKED_DEPTH) {
    const __m256i *weights = reinterpret_cast<const __m256i *>(right + k * PACKED_COLUMNS);
    const __m256i columns = _mm256_loadu_si256(weights), others = _mm256_loadu_si256(weights + 1);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      int32_t four;
      std::memcpy(&four, left + i * depth + k, sizeof four);
      const __m256i factors = _mm256_set1_epi32(four);
      sums[i][0] = _mm256_dpbusd_avx_epi32(sums[i][0], factors, columns);
      sums[i][1] = _mm256_dpbusd_avx_epi32(sums[i][1], factors, others);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j)
      _mm256_store_si256(reinterpret_cast<__m256i *>(out + i * BLOCK + j * int8_avx2::LANES), sums[i][j]);
}

TARGET_AVX_VNNI void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows, int32_t *out) {
  constexpr int ROWS = 6;  // with 12 registers of sums, as many as there are
  const int64_t depth = matrix.depth;
  for (int64_t half = 0; half < BLOCK; half += PACKED_COLUMNS) {
    const int8_t *right = matrix.weights + (column + half) * depth;
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS)
      multiply_tile<ROWS>(left + row * depth, right, depth, out + row * BLOCK + half);
    for (; row < rows; row += 2) multiply_tile<2>(left + row * depth, right, depth, out + row * BLOCK + half);
  }
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  int8_avx2::encode<float>(encoder, batch, ids, multiply, int8_avx2::attend, out);
}

}  // namespace int8_avx_vnni
}  // namespace
