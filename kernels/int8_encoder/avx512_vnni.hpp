// The encoder by AVX-512 with VNNI.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../attention/avx512.hpp"
#include "../capabilities.hpp"
#include "encoder.hpp"

namespace {
namespace int8_avx512_vnni {

#define TARGET TARGET_AVX512_VNNI

using Vector = __m512;
constexpr int64_t LANES = 16;

TARGET INLINE Vector load(const float *from) { return _mm512_loadu_ps(from); }
TARGET INLINE Vector load(const uint16_t *from) {  // bfloat16
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
TARGET INLINE Vector load_bytes(const uint8_t *from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
TARGET INLINE Vector load_integers(const int32_t *from) { return _mm512_cvtepi32_ps(_mm512_load_si512(from)); }
TARGET INLINE void store(float *to, Vector x) { _mm512_storeu_ps(to, x); }
// As bfloat16, rounded to nearest, ties to even; without AVX512-BF16, which is no part of TARGET.
TARGET INLINE void store(uint16_t *to, Vector x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_add_epi32(bits, half), 16)));
}
TARGET INLINE void store_bytes(uint8_t *to, Vector x) {
  const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtusepi32_epi8(whole));
}
TARGET INLINE Vector broadcast(float x) { return _mm512_set1_ps(x); }
TARGET INLINE Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
TARGET INLINE Vector sub(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
TARGET INLINE Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
TARGET INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
TARGET INLINE Vector fms(Vector a, Vector b, Vector c) { return _mm512_fmsub_ps(a, b, c); }
TARGET INLINE Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
TARGET INLINE Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
TARGET INLINE Vector clamp(Vector x, float limit) {
  constexpr int SMALLER_WITH_SIGN_OF_FIRST = 0b0010;
  return _mm512_range_ps(x, broadcast(limit), SMALLER_WITH_SIGN_OF_FIRST);
}
TARGET INLINE Vector divide(Vector a, Vector b) { return mul(a, _mm512_rcp14_ps(b)); }
TARGET INLINE float reduce_add(Vector x) { return _mm512_reduce_add_ps(x); }
TARGET INLINE float reduce_min(Vector x) { return _mm512_reduce_min_ps(x); }
TARGET INLINE float reduce_max(Vector x) { return _mm512_reduce_max_ps(x); }

TARGET void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows, int32_t *out) {
  constexpr int ROWS = 8;
  const int64_t depth = matrix.depth;
  const int8_t *right = matrix.weights + column * depth, *beside = right + PACKED_COLUMNS * depth;
  for (int64_t row = 0; row < rows; row += ROWS) {
    __m512i sums[ROWS][2] = {};
    for (int64_t k = 0; k < depth; k += PACKED_DEPTH) {
      const __m512i columns = _mm512_loadu_si512(right + k * PACKED_COLUMNS);
      const __m512i others = _mm512_loadu_si512(beside + k * PACKED_COLUMNS);
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; ++i) {
        int32_t four;
        std::memcpy(&four, left + (row + i) * depth + k, sizeof four);
        const __m512i factors = _mm512_set1_epi32(four);
        sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], factors, columns);
        sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], factors, others);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      _mm512_storeu_si512(out + (row + i) * BLOCK, sums[i][0]);
      _mm512_storeu_si512(out + (row + i) * BLOCK + PACKED_COLUMNS, sums[i][1]);
    }
  }
}

#include "loops.hpp"

void attend(const Encoder &encoder, const Batch &batch, float *qkv, float *context, Buffers &buffers) {
  attend_by(avx512::forward, avx512::scratch_floats, encoder, batch, qkv, context, buffers);
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  encode<float>(encoder, batch, ids, multiply, attend, out);
}

}  // namespace int8_avx512_vnni
}  // namespace
