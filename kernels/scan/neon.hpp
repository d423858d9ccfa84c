// The scan by NEON.

#pragma once

#include <arm_neon.h>

#include "scan.hpp"

namespace {
namespace neon {

int32_t dot_8bit(const int8_t *row, const int8_t *query, int64_t width) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int64_t i = 0; i < width; i += 16) {
    const int8x16_t m = vld1q_s8(row + i), q = vld1q_s8(query + i);
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(m), vget_low_s8(q)));
    sum = vpadalq_s16(sum, vmull_high_s8(m, q));
  }
  return vaddvq_s32(sum);
}

int32_t dot_2bit(const int8_t *row, const int8_t *query, int64_t width) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int64_t i = 0; i < width; i += 16) {
    const uint8x16_t held = vreinterpretq_u8_s8(vld1q_s8(row + i));
    for (int part = 0; part < 4; ++part) {
      const int8x16_t q = vld1q_s8(query + i / 32 * 128 + i % 32 + 32 * part);
      const int8x16_t m = vreinterpretq_s8_u8(
          vandq_u8(vshlq_u8(held, vdupq_n_s8(int8_t(-2 * part))), vdupq_n_u8(3)));
      sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(m), vget_low_s8(q)));
      sum = vpadalq_s16(sum, vmull_high_s8(m, q));
    }
  }
  return vaddvq_s32(sum);
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

}  // namespace neon
}  // namespace
