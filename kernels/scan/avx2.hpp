// The scan by AVX2.

#pragma once

#include <immintrin.h>

#include "scan.hpp"

namespace {
namespace avx2 {

TARGET_AVX2 inline int32_t sum_of(__m256i numbers) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

TARGET_AVX2 int32_t dot_8bit(const int8_t *row, const int8_t *query, int64_t width) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int64_t i = 0; i < width; i += 32) {
    const __m256i m = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query + i));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(m)),
                                                  _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q))));
    high = _mm256_add_epi32(
        high, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(m, 1)),
                                _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1))));
  }
  return sum_of(_mm256_add_epi32(low, high));
}

TARGET_AVX2 int32_t dot_2bit(const int8_t *row, const int8_t *query, int64_t width) {
  const __m256i lowest = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < width; i += 32) {
    const __m256i held = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
    __m256i four = _mm256_setzero_si256();  // at most 4 * 2 * 3 * 128 = 3072, so 16 bits suffice
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part, query += 32)
      four = _mm256_add_epi16(
          four, _mm256_maddubs_epi16(
                    _mm256_and_si256(_mm256_srli_epi16(held, 2 * part), lowest),
                    _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query))));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(four, ones));
  }
  return sum_of(sum);
}

TARGET_AVX2 INLINE uint32_t mask_above(const int32_t *scores, int32_t threshold) {
  const __m256i limit = _mm256_set1_epi32(threshold);
  uint32_t mask = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i held = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(scores + 8 * half));
    const __m256i larger = _mm256_cmpgt_epi32(held, limit);
    mask |= uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(larger))) << (8 * half);
  }
  return mask;
}


TARGET_AVX2 void prune(Candidates &best) { prune_to_k(best); }

TARGET_AVX2 void offer(Candidates &best, const int32_t *scores, int64_t rows, int64_t first, const uint8_t *allowed) {
  OFFER_BODY
}

TARGET_AVX2 bool rescore(const float *floats, const uint64_t *checksums, int64_t dimensions, const float *query,
             const int64_t *rows, int64_t count, float *out) {
  return rescore_rows(floats, checksums, dimensions, query, rows, count, out);
}

}  // namespace avx2
}  // namespace
