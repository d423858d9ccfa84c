// What the implementations of the scan share. README.md has the formula and the layout of 2-bit codes.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "../capabilities.hpp"

namespace {

// Writes the inner products of `count` queries with `rows` consecutive rows of `width` bytes, a multiple of
// group(format). A query has as many numbers as a row, one byte each. `residuals` is null or holds, for a matrix of
// 2-bit codes, the next two bits of each number, which is then 4 * code + residual. The products of query q begin at
// out + q * stride; up to the next multiple of ROWS_PER_TILE rows, what follows them is overwritten.
constexpr int64_t ROWS_PER_TILE = 16;
constexpr int QUERIES_PER_TILE = 4;  // queries that share one read of a row
using InnerProducts = void (*)(const int8_t *matrix, const int8_t *residuals, int64_t rows, int64_t width,
                               const int8_t *queries, int64_t count, int32_t *out, int64_t stride);

// How the numbers of a row are stored: signed bytes, unsigned bytes, or four unsigned 2-bit codes a byte.
enum Format { EIGHT_BITS, UNSIGNED, TWO_BITS };
constexpr int numbers_per_byte(Format format) { return format == TWO_BITS ? 4 : 1; }  // per byte
constexpr int64_t group(Format format) { return format == TWO_BITS ? 32 : 64; }  // bytes: rows are padded to a multiple

// For implementations that compute one product at a time. Rows are the outer loop, since they come from memory.
template <Format format, int32_t (*dot)(const int8_t *, const int8_t *, int64_t)>
void one_at_a_time(const int8_t *matrix, const int8_t *residuals, int64_t rows, int64_t width,
                   const int8_t *queries, int64_t count, int32_t *out, int64_t stride) {
  for (int64_t row = 0; row < rows; ++row, matrix += width, residuals += residuals ? width : 0)
    for (int64_t query = 0; query < count; ++query) {
      const int8_t *asked = queries + query * numbers_per_byte(format) * width;
      const int32_t product = dot(matrix, asked, width);
      out[query * stride + row] = residuals ? 4 * product + dot(residuals, asked, width) : product;
    }
}

constexpr int64_t MAX_ROWS = int64_t(1) << 32;

// The best `k` rows so far, and some others that have not been dropped yet, in ascending order of rows, in which
// they are offered.
struct Candidates {
  size_t k = 0, held = 0, capacity = 0;
  std::unique_ptr<int32_t[]> scores;
  std::unique_ptr<uint32_t[]> rows;
  // A score has to exceed it. An equal one never displaces an earlier row, which has precedence.
  int32_t threshold = INT32_MIN;

  void reset(int64_t number) {
    k = size_t(number);
    capacity = 4 * k + 64;  // more than k, so that many are dropped at a time
    scores.reset(new int32_t[capacity]);
    rows.reset(new uint32_t[capacity]);
  }
};

INLINE size_t count_at_least(const Candidates &best, int32_t score) {
  uint32_t number = 0;  // as wide as a score, so that the compiler can use vectors
  for (size_t i = 0; i < best.held; ++i) number += best.scores[i] >= score;
  return number;
}

// Drops all but the best k. The k-th best score is found by bisection over the range of scores: counting uses
// vectors, where partitioning would take a branch per score.
INLINE void prune_to_k(Candidates &best) {
  const size_t k = best.k;
  if (best.held < k || k == 0) return;
  int32_t *scores = best.scores.get();
  uint32_t *rows = best.rows.get();
  int32_t smallest = scores[0], largest = scores[0];
  for (size_t i = 1; i < best.held; ++i) {
    smallest = std::min(smallest, scores[i]);
    largest = std::max(largest, scores[i]);
  }
  int64_t low = smallest, high = largest;
  while (low < high) {
    const int64_t middle = high - (high - low) / 2;
    if (count_at_least(best, int32_t(middle)) >= k)
      low = middle;
    else
      high = middle - 1;
  }
  const int32_t threshold = best.threshold = int32_t(low);
  size_t equal = k - (threshold == INT32_MAX ? 0 : count_at_least(best, threshold + 1)), kept = 0;
  for (size_t i = 0; i < best.held; ++i) {
    const bool same = scores[i] == threshold && equal > 0, keep = same || scores[i] > threshold;
    equal -= same;
    scores[kept] = scores[i];
    rows[kept] = rows[i];
    kept += keep;
  }
  best.held = kept;
}

using Prune = void (*)(Candidates &best);

INLINE void push(Candidates &best, int32_t score, int64_t row, Prune prune) {
  if (best.held == best.capacity) prune(best);
  best.scores[best.held] = score;
  best.rows[best.held++] = uint32_t(row);
}

// Scores are compared with the threshold so many at a time, and one by one only where one of these exceeds it.
constexpr int64_t SCORES_PER_CHECK = 16;

// Adds those of the scores of consecutive rows, from row number `first` on, that exceed the threshold to `best`.
// `allowed`: null, or for each of these rows whether it may be found.
using Offer = void (*)(Candidates &best, const int32_t *scores, int64_t rows, int64_t first,
                       const uint8_t *allowed);

// The body of an `Offer`. It calls `mask_above(scores, threshold)`, which gives a bit for each of SCORES_PER_CHECK
// scores, and `prune` of the namespace in which it stands, so that these are of the same instruction set.
#define OFFER_BODY                                                                                \
  for (int64_t start = 0; start < rows; start += SCORES_PER_CHECK) {                              \
    const bool whole = start + SCORES_PER_CHECK <= rows;                                          \
    uint32_t mask = whole ? mask_above(scores + start, best.threshold) : (1u << (rows - start)) - 1; \
    for (; mask; mask &= mask - 1) {                                                              \
      const int64_t row = start + __builtin_ctz(mask);                                            \
      if (scores[row] > best.threshold && (allowed == nullptr || allowed[row]))                   \
        push(best, scores[row], first + row, prune);                                              \
    }                                                                                             \
  }

constexpr int64_t LANES = 16;  // independent sums, so that the compiler can use vectors

INLINE float inner_product(const float *row, const float *query, int64_t dimensions) {
  float sums[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= dimensions; i += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += row[i + lane] * query[i + lane];
  for (; i < dimensions; ++i) sums[0] += row[i] * query[i];
  for (int64_t half = LANES / 2; half; half /= 2)
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

// The sum modulo 2^64 of a vector's 32-bit words, each times an odd number: every change of a single word changes
// the sum.
constexpr uint32_t WEIGHT = 0x9E3779B9u;

INLINE uint64_t checksum_of(const float *row, int64_t dimensions) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < dimensions; ++i) {
    uint32_t word;
    std::memcpy(&word, row + i, sizeof word);
    sum += uint64_t(word) * (uint32_t(2 * i + 1) * WEIGHT);
  }
  return sum;
}

constexpr int64_t PREFETCH_ROWS = 4;  // how far ahead the floats of rows are fetched, which lie anywhere in memory

// Writes the inner product of the query with the floats of each of `count` rows. Returns false where the floats of
// one do not have its checksum.
using Rescore = bool (*)(const float *floats, const uint64_t *checksums, int64_t dimensions,
                         const float *query, const int64_t *rows, int64_t count, float *out);

INLINE bool rescore_rows(const float *floats, const uint64_t *checksums, int64_t dimensions,
                         const float *query, const int64_t *rows, int64_t count, float *out) {
  const auto fetch = [&](int64_t place) __attribute__((always_inline)) {
    for (int64_t i = 0; place < count && i < dimensions; i += LANES)
      __builtin_prefetch(floats + rows[place] * dimensions + i);
  };
  for (int64_t place = 0; checksums && place < count; ++place)
    __builtin_prefetch(checksums + rows[place]);
  for (int64_t place = 0; place < PREFETCH_ROWS; ++place) fetch(place);
  for (int64_t place = 0; place < count; ++place) {
    fetch(place + PREFETCH_ROWS);
    const float *held = floats + rows[place] * dimensions;
    if (checksums && checksum_of(held, dimensions) != checksums[rows[place]]) return false;
    out[place] = inner_product(held, query, dimensions);
  }
  return true;
}

}  // namespace
