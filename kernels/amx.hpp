// What every kernel that uses AMX shares: the shape of a tile, and how numbers are laid out for it.
// Included where capabilities.hpp defines COMPILES_AMX.

#pragma once

#include <immintrin.h>

#include <cstdint>

#include "capabilities.hpp"

namespace {

// A tile has 16 rows of 64 bytes: 32 numbers in bfloat16, 64 in int8, or 16 sums. Of the left factor of a product,
// a row holds consecutive numbers along the inner dimension. Of the right factor, a row holds for each of 16
// columns the next two (bfloat16) or four (int8) numbers along the inner dimension.
constexpr int64_t TILE_ROWS = 16, TILE_ROW_BYTES = 64, TILE_INNER = 32, TILE_SIZE = TILE_ROWS * TILE_INNER;

// The shape of all eight tiles, as the processor reads it.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Configures this thread's tiles while it lives, and restores the configuration that other code of this process
// has made. Both are static or members: GCC takes these intrinsics to read and write only eight bytes, and would
// leave out or move the writes to a local variable.
struct ConfiguredTiles {
  TARGET_AMX ConfiguredTiles() {
    static const TileConfig wanted;
    _tile_storeconfig(before);
    _tile_loadconfig(&wanted);
  }
  TARGET_AMX ~ConfiguredTiles() { _tile_loadconfig(before); }
  alignas(64) uint8_t before[64];
};

// Transposes 16 by 16 numbers of four bytes: out[j][i] = from[i][j]. Rows of `from` are `stride` numbers apart.
TARGET_AMX inline void transpose_16x16(const void *from, int64_t stride, void *out) {
  constexpr int SIDE = 16;
  __m512 rows[SIDE], next[SIDE];
#pragma GCC unroll 16
  for (int i = 0; i < SIDE; ++i)
    rows[i] = _mm512_loadu_ps(static_cast<const float *>(from) + i * stride);
  // Four steps: in each pair of rows `apart` from each other, the off-diagonal blocks of `apart` columns are
  // exchanged.
#pragma GCC unroll 4
  for (int apart = 1; apart < SIDE; apart *= 2) {
    alignas(64) int32_t first[SIDE], second[SIDE];
    for (int j = 0; j < SIDE; ++j) {
      first[j] = j & apart ? (j ^ apart) + SIDE : j;
      second[j] = j & apart ? j + SIDE : j ^ apart;
    }
    const __m512i upper = _mm512_load_si512(first), lower = _mm512_load_si512(second);
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; ++i)
      if (!(i & apart)) {
        next[i] = _mm512_permutex2var_ps(rows[i], upper, rows[i + apart]);
        next[i + apart] = _mm512_permutex2var_ps(rows[i], lower, rows[i + apart]);
      }
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < SIDE; ++i) _mm512_storeu_ps(static_cast<float *>(out) + i * SIDE, rows[i]);
}

}  // namespace
