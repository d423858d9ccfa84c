// A processor's tiles for bfloat16 (AMX): whether they are there, their shape, and what lays numbers out
// for them. HAS_TILES where the compiler knows them.

#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__linux__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>)
#define HAS_TILES
#endif
#endif

namespace {

// A tile has 16 rows of 32 bfloat16, or of 16 floats. Of the left side of a product, a row has 32 of what
// is summed over; of the right, a row has two of it for each of 16 columns.
constexpr int64_t SIDE = 16, DEPTH = 32, TILE = SIDE * DEPTH;

}  // namespace

#ifdef HAS_TILES

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#define WITH_TILES __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16,fma")))

namespace {

// What the eight tiles look like, as the processor reads it.
struct alignas(64) Shape {
  uint8_t palette = 1, start = 0, unused[14] = {};
  uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Tiles of this thread while it lives; other code of this process that uses them finds its own again.
// Both lie where the compiler cannot leave out or move what is written: it takes these instructions to read
// and write eight bytes.
struct Configured {
  WITH_TILES Configured() {
    static const Shape wanted;
    _tile_storeconfig(before);
    _tile_loadconfig(&wanted);
  }
  WITH_TILES ~Configured() { _tile_loadconfig(before); }
  alignas(64) uint8_t before[64];
};

// out[j][i] = from[i][j], 16 by 16 numbers of four bytes, rows of `from` `stride` of them apart.
WITH_TILES inline void turn_sixteen(const void *from, int64_t stride, void *out) {
  __m512 rows[SIDE], next[SIDE];
#pragma GCC unroll 16
  for (int i = 0; i < SIDE; ++i)
    rows[i] = _mm512_loadu_ps(static_cast<const float *>(from) + i * stride);
  // Four times: of rows `apart` from each other, the blocks of `apart` columns off the diagonal change places.
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

// Whether processor and system have tiles, and the system lets this process use them.
bool has_tiles() {
  static const bool found = [] {
    unsigned a, b, c, d;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512bf16"))
      return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) return false;
    constexpr long ASK_FOR_STATE = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
  }();
  return found;
}

}  // namespace

#endif  // HAS_TILES
