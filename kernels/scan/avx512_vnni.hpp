// The scan by AVX-512 with VNNI.

#pragma once

#include <immintrin.h>

#include "scan.hpp"

namespace {
namespace avx512_vnni {

// Partial sums of neighbouring numbers, towards one register with the sums of 16 registers.
TARGET_AVX512_VNNI inline __m512i sum_pairs(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}
TARGET_AVX512_VNNI inline __m512i sum_quads(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i low = sum_pairs(a, b), high = sum_pairs(c, d);
  return _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}
TARGET_AVX512_VNNI inline __m512i sum_lanes(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}
// Number i of the result: the sum of the 16 numbers in s[i].
TARGET_AVX512_VNNI inline __m512i sums_of(const __m512i (&s)[16]) {
  return sum_lanes(sum_lanes(sum_quads(s[0], s[1], s[2], s[3]), sum_quads(s[4], s[5], s[6], s[7])),
               sum_lanes(sum_quads(s[8], s[9], s[10], s[11]), sum_quads(s[12], s[13], s[14], s[15])));
}

// _mm512_dpbusd_epi32, with which GCC 12 copies every sum to another register and back.
TARGET_AVX512_VNNI inline void multiply_add(__m512i &sum, __m512i row, __m512i query) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(row), "v"(query));
}

// The first (part 0) or the second (part 1) 64 of the 128 codes in 32 bytes, one byte each.
TARGET_AVX512_VNNI inline __m512i unpack(const int8_t *held, int part) {
  const __m512i twice =
      _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(held)));
  const __m512i places =
      _mm512_inserti64x4(_mm512_set1_epi32(4 * part), _mm256_set1_epi32(4 * part + 2), 1);
  return _mm512_and_si512(_mm512_srlv_epi32(twice, places), _mm512_set1_epi8(3));
}

// The 16 inner products of ROWS rows and QUERIES queries; those of query q begin at q * ROWS.
// VPDPBUSD multiplies unsigned by signed bytes. A signed byte with its top bit flipped is that number plus 128, so
// each product is too large by 128 times the sum of the query, whatever the row.
// PREFETCH: fetch the rows of the next tile from memory meanwhile.
template <Format format, int ROWS, int QUERIES, bool PREFETCH>
TARGET_AVX512_VNNI __attribute__((always_inline)) inline __m512i product_tile(const int8_t *const *rows,
                                                        const int8_t *queries, int64_t width) {
  static_assert(ROWS * QUERIES == 16, "one register of sums per product");
  __m512i sums[16];
  for (__m512i &sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 64) {
    __m512i asked[QUERIES];
    for (int q = 0; q < QUERIES; ++q) asked[q] = _mm512_loadu_si512(queries + q * width + i);
    // One row at a time: the registers hold all sums and queries, but not all rows as well.
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      if (PREFETCH) _mm_prefetch(rows[r] + i + ROWS * width, _MM_HINT_T0);
      __m512i held = _mm512_loadu_si512(rows[r] + i);
      if (format == EIGHT_BITS) held = _mm512_xor_si512(held, _mm512_set1_epi8(char(0x80)));
#pragma GCC unroll 16
      for (int q = 0; q < QUERIES; ++q) multiply_add(sums[q * ROWS + r], held, asked[q]);
    }
  }
  return sums_of(sums);
}

// The same for 16 rows of 2-bit codes and one query. A register holds 32 bytes twice. Its first half keeps the lowest
// two bits of each byte, or, after a shift, the third two; its second half keeps the others, which count four times as
// much where they stand, and so do their sums.
template <>
TARGET_AVX512_VNNI __attribute__((always_inline)) inline __m512i product_tile<TWO_BITS, 16, 1, true>(
    const int8_t *const *rows, const int8_t *query, int64_t width) {
  const __m512i kept = _mm512_inserti64x4(_mm512_set1_epi8(3), _mm256_set1_epi8(12), 1);
  __m512i sums[16];
  for (__m512i &sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 32) {
    const __m512i low = _mm512_loadu_si512(query + 4 * i), high = _mm512_loadu_si512(query + 4 * i + 64);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      _mm_prefetch(rows[r] + i + 32 * width, _MM_HINT_T0);  // a tile takes less time than reading memory
      const __m512i twice = _mm512_broadcast_i64x4(
          _mm256_loadu_si256(reinterpret_cast<const __m256i *>(rows[r] + i)));
      multiply_add(sums[r], _mm512_and_si512(twice, kept), low);
      multiply_add(sums[r], _mm512_and_si512(_mm512_srli_epi16(twice, 4), kept), high);
    }
  }
  const __m512i places = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(2), 1);
#pragma GCC unroll 16
  for (__m512i &sum : sums) sum = _mm512_srav_epi32(sum, places);
  return sums_of(sums);
}

// For `count` queries, a multiple of QUERIES.
template <Format format, int ROWS, int QUERIES, bool PREFETCH>
TARGET_AVX512_VNNI void product_tiles(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                int64_t count, int32_t *out, int64_t stride) {
  const __m512i flip = _mm512_set1_epi8(char(0x80));
  for (int64_t query = 0; query < count; query += QUERIES, queries += QUERIES * numbers_per_byte(format) * width) {
    alignas(64) int32_t excess[16] = {};
    for (int q = 0; format == EIGHT_BITS && q < QUERIES; ++q) {
      __m512i sum = _mm512_setzero_si512();
      for (int64_t i = 0; i < width; i += 64)
        multiply_add(sum, flip, _mm512_loadu_si512(queries + q * width + i));
      std::fill_n(excess + q * ROWS, ROWS, _mm512_reduce_add_epi32(sum));
    }
    const __m512i too_much = _mm512_load_si512(excess);
    for (int64_t row = 0; row < rows; row += ROWS) {
      const int8_t *held[ROWS];  // beyond the end, the last row again
      for (int r = 0; r < ROWS; ++r) held[r] = matrix + std::min(row + r, rows - 1) * width;
      alignas(64) int32_t products[16];
      _mm512_store_si512(
          products, _mm512_sub_epi32(product_tile<format, ROWS, QUERIES, PREFETCH>(held, queries, width), too_much));
      for (int q = 0; q < QUERIES; ++q)
        std::memcpy(out + (query + q) * stride + row, products + q * ROWS, ROWS * sizeof(int32_t));
    }
  }
}

template <Format format>
TARGET_AVX512_VNNI void inner_products(const int8_t *matrix, const int8_t *residuals, int64_t rows, int64_t width,
                    const int8_t *queries, int64_t count, int32_t *out, int64_t stride) {
  const int64_t tiled = count / QUERIES_PER_TILE * QUERIES_PER_TILE;
  if (format == TWO_BITS && (tiled || residuals)) {  // unpacked once for all queries
    const std::unique_ptr<int8_t[]> whole(new int8_t[4 * rows * width]);
    for (int64_t i = 0; i < rows * width; i += 32)
      for (int part = 0; part < 2; ++part) {
        __m512i numbers = unpack(matrix + i, part);
        if (residuals)
          numbers = _mm512_or_si512(_mm512_slli_epi16(numbers, 2), unpack(residuals + i, part));
        _mm512_storeu_si512(&whole[4 * i + 64 * part], numbers);
      }
    inner_products<UNSIGNED>(whole.get(), nullptr, rows, 4 * width, queries, count, out, stride);
    return;
  }
  if (tiled) product_tiles<format, 16 / QUERIES_PER_TILE, QUERIES_PER_TILE, false>(matrix, rows, width, queries, tiled, out, stride);
  if (count > tiled)
    product_tiles<format, 16, 1, true>(matrix, rows, width, queries + tiled * numbers_per_byte(format) * width,
                             count - tiled, out + tiled * stride, stride);
}

TARGET_AVX512_VNNI void prune(Candidates &best) { prune_to_k(best); }

// Appends all of SCORES_PER_CHECK scores that exceed the threshold at once.
TARGET_AVX512_VNNI void offer(Candidates &best, const int32_t *scores, int64_t rows, int64_t first,
                    const uint8_t *allowed) {
  const __m512i places = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (int64_t start = 0; start < rows; start += SCORES_PER_CHECK) {
    const auto there = __mmask16(start + SCORES_PER_CHECK <= rows ? 0xffff : (1 << (rows - start)) - 1);
    const __m512i found = _mm512_maskz_loadu_epi32(there, scores + start);
    __mmask16 good = _mm512_mask_cmpgt_epi32_mask(there, found, _mm512_set1_epi32(best.threshold));
    if (good && allowed) {
      const __m512i flags = _mm512_maskz_loadu_epi8(there, allowed + start);
      good &= __mmask16(_mm512_test_epi8_mask(flags, flags));
    }
    if (!good) continue;
    if (best.held + SCORES_PER_CHECK > best.capacity) prune(best);
    const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(int32_t(uint32_t(first + start))), places);
    _mm512_storeu_si512(&best.scores[best.held], _mm512_maskz_compress_epi32(good, found));
    _mm512_storeu_si512(&best.rows[best.held], _mm512_maskz_compress_epi32(good, numbers));
    best.held += size_t(__builtin_popcount(good));
  }
}

TARGET_AVX512_VNNI bool rescore(const float *floats, const uint64_t *checksums, int64_t dimensions, const float *query,
             const int64_t *rows, int64_t count, float *out) {
  return rescore_rows(floats, checksums, dimensions, query, rows, count, out);
}

}  // namespace avx512_vnni
}  // namespace
