// What the implementations of attention share.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

// Attention within each of several texts, or its gradient. A row of `qkv` holds a token's queries, keys and values
// beside each other, each of all heads.
struct Task {
  const int64_t *lengths;  // (texts): tokens of each
  const int64_t *starts;   // (texts): the row of its first token
  int64_t texts, heads, width;  // width: of one head
  const float *bias;         // null, or (heads, bias_side, bias_side): added to the scores
  int64_t bias_side;
  bool bfloat16;             // the type of the four matrices below; float32 otherwise
  const void *qkv;           // (rows, 3 * heads * width)
  void *context;             // forward: (rows, heads * width), written
  const void *grad_context;  // backward: (rows, heads * width)
  void *grad_qkv;            // backward: (rows, 3 * heads * width), written
};

constexpr int64_t QUERIES_PER_BLOCK = 64;  // queries whose scores exist at the same time

inline float to_float(float number) { return number; }
inline float to_float(uint16_t bits) {  // bfloat16
  const uint32_t widened = uint32_t(bits) << 16;
  float number;
  std::memcpy(&number, &widened, sizeof number);
  return number;
}

}  // namespace
