// Attention of one head within one text, by each instruction set: the loops that attention.cpp and int8_encoder.cpp
// are made of.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tiles.hpp"

namespace {

// What is to be done. A row of `joint`: queries, keys and values beside each other, each of all heads.
struct Task {
  const int64_t *lengths;  // of the texts, in rows
  const int64_t *starts;   // their first rows
  int64_t texts, heads, width;  // width: of a head
  const float *bias;       // null, or (heads, bias_side, bias_side), added to scores
  int64_t bias_side;
  bool bfloat16;           // else float32: joint, and all that follows
  const void *joint;       // (rows, 3 * heads * width)
  void *context;           // forward: (rows, heads * width), written
  const void *gradient;    // backward: of the context
  void *to_joint;          // backward: (rows, 3 * heads * width), written
};

float wide(float number) { return number; }
float wide(uint16_t bits) {
  const uint32_t whole = uint32_t(bits) << 16;
  float number;
  std::memcpy(&number, &whole, sizeof number);
  return number;
}

constexpr int64_t BLOCK = 64;  // queries whose scores are held at a time

#if defined(__x86_64__)
#define LEVEL avx512
#define TARGET __attribute__((target("avx512f,fma")))
#define LANES 16
#define TILE_ROWS 8
#include "attention_loops.hpp"
#define LEVEL avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define TILE_ROWS 6
#include "attention_loops.hpp"
#endif
#define LEVEL portable  // NEON on arm64
#define TARGET
#define LANES 4
#define TILE_ROWS 6
#include "attention_loops.hpp"

#ifdef HAS_TILES
#include "attention_tiles.hpp"
#endif

}  // namespace
