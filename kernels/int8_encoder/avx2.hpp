// The encoder by AVX2.
//
// AVX2 has no product of 8-bit numbers with 32-bit sums. VPMADDUBSW multiplies unsigned by signed bytes and adds pairs
// of products in 16 bits, and VPMADDWD adds pairs of these in 32 bits. Here, two results of VPMADDUBSW are added in 16
// bits before VPMADDWD, which then is needed half as often: three multiplications for 64 products instead of four.
//
// A sum of four products fits 16 bits if neither the positive nor the negative ones of its four weights add up to more
// than 128, since inputs are at most 255 and 255 * 128 = 32,640. Where they do, `pack` takes the excess out of the
// weights and writes it to a list of corrections, which are multiplied one by one. So no sum can overflow, whatever the
// weights and inputs, and results are those of the other instruction sets. Of the weights of all-MiniLM-L6-v2 in 7 bits,
// 1 in 2,600 has a correction.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "../attention/avx2.hpp"
#include "../capabilities.hpp"
#include "encoder.hpp"

namespace {
namespace int8_avx2 {

#define TARGET TARGET_AVX2

using Vector = __m256;
constexpr int64_t LANES = 8;

TARGET INLINE Vector load(const float *from) { return _mm256_loadu_ps(from); }
TARGET INLINE Vector load_bytes(const uint8_t *from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
TARGET INLINE Vector load_integers(const int32_t *from) {
  return _mm256_cvtepi32_ps(_mm256_load_si256(reinterpret_cast<const __m256i *>(from)));
}
TARGET INLINE void store(float *to, Vector x) { _mm256_storeu_ps(to, x); }
TARGET INLINE void store_bytes(uint8_t *to, Vector x) {
  const __m256i whole = _mm256_cvtps_epi32(x);
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packus_epi16(words, words));
}
TARGET INLINE Vector broadcast(float x) { return _mm256_set1_ps(x); }
TARGET INLINE Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
TARGET INLINE Vector sub(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
TARGET INLINE Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
TARGET INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
TARGET INLINE Vector fms(Vector a, Vector b, Vector c) { return _mm256_fmsub_ps(a, b, c); }
TARGET INLINE Vector min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
TARGET INLINE Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
TARGET INLINE Vector clamp(Vector x, float limit) { return min(max(x, broadcast(-limit)), broadcast(limit)); }
// With one step of Newton's method, since the approximation has only 12 bits.
TARGET INLINE Vector divide(Vector a, Vector b) {
  const Vector inverse = _mm256_rcp_ps(b);
  return mul(a, mul(inverse, _mm256_fnmadd_ps(b, inverse, broadcast(2))));
}
TARGET INLINE __m128 lower(Vector x) { return _mm256_castps256_ps128(x); }
TARGET INLINE __m128 upper(Vector x) { return _mm256_extractf128_ps(x, 1); }
TARGET INLINE float reduce_add(Vector x) {
  __m128 four = _mm_add_ps(lower(x), upper(x));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
TARGET INLINE float reduce_min(Vector x) {
  __m128 four = _mm_min_ps(lower(x), upper(x));
  four = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(four, _mm_movehdup_ps(four)));
}
TARGET INLINE float reduce_max(Vector x) {
  __m128 four = _mm_max_ps(lower(x), upper(x));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

constexpr int64_t GROUP_DEPTH = 2 * PACKED_DEPTH;  // two steps of the packed layout are added in 16 bits
constexpr int MAX_SUM = 128;  // of the weights of one sign in a sum of 16 bits

// What a weight was reduced by.
struct Correction {
  int32_t row, column;  // row: in the depth; column: in its block of BLOCK columns
  int32_t difference;
};

// Behind the packed weights: for each block of columns where its corrections begin, the end of the last, and all
// corrections.
struct Corrections {
  std::vector<int32_t> starts;
  std::vector<Correction> list;
};

// Takes the excess out of a copy of the weights, (depth, columns).
Corrections limit_sums(std::vector<int8_t> &weights, int64_t depth, int64_t columns) {
  Corrections found;
  for (int64_t block = 0; block < columns; block += BLOCK) {
    found.starts.push_back(int32_t(found.list.size()));
    for (int64_t column = block; column < block + BLOCK; ++column)
      for (int64_t group = 0; group < depth; group += GROUP_DEPTH)
        for (int64_t pair = group; pair < group + PACKED_DEPTH; pair += 2) {
          const int64_t rows[] = {pair, pair + 1, pair + PACKED_DEPTH, pair + PACKED_DEPTH + 1};
          for (const int sign : {1, -1}) {
            int excess = -MAX_SUM;
            for (const int64_t row : rows) excess += std::max(0, sign * weights[row * columns + column]);
            for (const int64_t row : rows) {
              int8_t &weight = weights[row * columns + column];
              const int taken = std::min(excess, sign * weight);
              if (taken <= 0) continue;
              weight = int8_t(weight - sign * taken);
              excess -= taken;
              found.list.push_back({int32_t(row), int32_t(column - block), sign * taken});
            }
          }
        }
  }
  found.starts.push_back(int32_t(found.list.size()));
  return found;
}

int64_t packed_size(const int8_t *weights, int64_t depth, int64_t columns) {
  std::vector<int8_t> limited(weights, weights + depth * columns);
  const Corrections found = limit_sums(limited, depth, columns);
  return depth * columns + int64_t(found.starts.size() * sizeof(int32_t) + found.list.size() * sizeof(Correction));
}

void pack(const int8_t *weights, int64_t depth, int64_t columns, int8_t *out) {
  std::vector<int8_t> limited(weights, weights + depth * columns);
  const Corrections found = limit_sums(limited, depth, columns);
  pack_by_fours(limited.data(), depth, columns, out);
  out += depth * columns;
  std::memcpy(out, found.starts.data(), found.starts.size() * sizeof(int32_t));
  out += found.starts.size() * sizeof(int32_t);
  if (!found.list.empty()) std::memcpy(out, found.list.data(), found.list.size() * sizeof(Correction));
}

// ROWS rows by 16 columns.
template <int ROWS>
TARGET INLINE void multiply_tile(const uint8_t *left, const int8_t *right, int64_t depth, int32_t *out) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[ROWS][2] = {};
  for (int64_t k = 0; k < depth; k += GROUP_DEPTH) {
    const __m256i *weights = reinterpret_cast<const __m256i *>(right + k * PACKED_COLUMNS);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      int32_t four[2];
      std::memcpy(four, left + i * depth + k, sizeof four);
      const __m256i first = _mm256_set1_epi32(four[0]), second = _mm256_set1_epi32(four[1]);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i words = _mm256_add_epi16(_mm256_maddubs_epi16(first, _mm256_loadu_si256(weights + j)),
                                               _mm256_maddubs_epi16(second, _mm256_loadu_si256(weights + 2 + j)));
        sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(words, ones));
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j)
      _mm256_store_si256(reinterpret_cast<__m256i *>(out + i * BLOCK + j * LANES), sums[i][j]);
}

TARGET void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows, int32_t *out) {
  constexpr int ROWS = 4;
  const int64_t depth = matrix.depth;
  const int8_t *right = matrix.weights + column * depth;
  for (int64_t row = 0; row < rows; row += ROWS) {
    const uint8_t *from = left + row * depth;
    multiply_tile<ROWS>(from, right, depth, out + row * BLOCK);
    multiply_tile<ROWS>(from, right + PACKED_COLUMNS * depth, depth, out + row * BLOCK + PACKED_COLUMNS);
  }
  const auto *starts = reinterpret_cast<const int32_t *>(matrix.weights + depth * matrix.columns);
  const auto *list = reinterpret_cast<const Correction *>(starts + matrix.columns / BLOCK + 1);
  for (int32_t i = starts[column / BLOCK]; i < starts[column / BLOCK + 1]; ++i)
    for (int64_t row = 0; row < rows; ++row)
      out[row * BLOCK + list[i].column] += list[i].difference * left[row * depth + list[i].row];
}

#include "loops.hpp"

void attend(const Encoder &encoder, const Batch &batch, float *qkv, float *context, Buffers &buffers) {
  attend_by(avx2::forward, avx2::scratch_floats, encoder, batch, qkv, context, buffers);
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  encode<float>(encoder, batch, ids, multiply, attend, out);
}

}  // namespace int8_avx2
}  // namespace
