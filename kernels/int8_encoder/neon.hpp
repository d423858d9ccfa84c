// What the encoders for arm64 share: all but the product of integers, for which plain NEON has no instruction.

#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../attention/portable.hpp"
#include "../capabilities.hpp"
#include "encoder.hpp"

namespace {
namespace int8_neon {

#define TARGET

using Vector = float32x4_t;
constexpr int64_t LANES = 4;

INLINE Vector load(const float *from) { return vld1q_f32(from); }
INLINE Vector load_bytes(const uint8_t *from) {
  uint32_t four;
  std::memcpy(&four, from, sizeof four);
  const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)));
}
INLINE Vector load_integers(const int32_t *from) { return vcvtq_f32_s32(vld1q_s32(from)); }
INLINE void store(float *to, Vector x) { vst1q_f32(to, x); }
INLINE void store_bytes(uint8_t *to, Vector x) {
  const uint16x4_t words = vqmovun_s32(vcvtnq_s32_f32(x));
  const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
  const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  std::memcpy(to, &four, sizeof four);
}
INLINE Vector broadcast(float x) { return vdupq_n_f32(x); }
INLINE Vector add(Vector a, Vector b) { return vaddq_f32(a, b); }
INLINE Vector sub(Vector a, Vector b) { return vsubq_f32(a, b); }
INLINE Vector mul(Vector a, Vector b) { return vmulq_f32(a, b); }
INLINE Vector fma(Vector a, Vector b, Vector c) { return vfmaq_f32(c, a, b); }
INLINE Vector fms(Vector a, Vector b, Vector c) { return vfmaq_f32(vnegq_f32(c), a, b); }
INLINE Vector min(Vector a, Vector b) { return vminq_f32(a, b); }
INLINE Vector max(Vector a, Vector b) { return vmaxq_f32(a, b); }
INLINE Vector clamp(Vector x, float limit) { return min(max(x, broadcast(-limit)), broadcast(limit)); }
INLINE Vector divide(Vector a, Vector b) { return vdivq_f32(a, b); }
INLINE float reduce_add(Vector x) { return vaddvq_f32(x); }
INLINE float reduce_min(Vector x) { return vminvq_f32(x); }
INLINE float reduce_max(Vector x) { return vmaxvq_f32(x); }

#include "loops.hpp"

void attend(const Encoder &encoder, const Batch &batch, float *qkv, float *context, Buffers &buffers) {
  attend_by(portable::forward, portable::scratch_floats, encoder, batch, qkv, context, buffers);
}

}  // namespace int8_neon
}  // namespace
