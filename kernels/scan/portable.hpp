// The scan in plain C++, for any processor.

#pragma once

#include "scan.hpp"

namespace {
namespace portable {

int32_t dot_8bit(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += int32_t(row[i]) * int32_t(query[i]);
  return sum;
}

int32_t dot_2bit(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t start = 0; start < width; start += 32, query += 128)
    for (int64_t i = 0; i < 128; ++i)
      sum += ((uint8_t(row[start + i % 32]) >> (i / 32 * 2)) & 3) * int32_t(query[i]);
  return sum;
}

INLINE uint32_t mask_above(const int32_t *scores, int32_t threshold) {
  uint32_t mask = 0;
  for (int64_t i = 0; i < SCORES_PER_CHECK; ++i) mask |= uint32_t(scores[i] > threshold) << i;
  return mask;
}


void prune(Candidates &best) { prune_to_k(best); }

void offer(Candidates &best, const int32_t *scores, int64_t rows, int64_t first, const uint8_t *allowed) {
  OFFER_BODY
}

bool rescore(const float *floats, const uint64_t *checksums, int64_t dimensions, const float *query,
             const int64_t *rows, int64_t count, float *out) {
  return rescore_rows(floats, checksums, dimensions, query, rows, count, out);
}

}  // namespace portable
}  // namespace
