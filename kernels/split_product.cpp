// Products of float32 matrices, as exact as float32's own, by a processor's tiles for bfloat16 (AMX).
//
// A float32 has 24 bits, a bfloat16 8 and as wide an exponent: each number is the sum of three bfloat16.
// Of the nine products of two sums' parts, the six largest are made, and added up in float32; what is left
// out is below 2^-23 of a product (Henry, Tang and Heinecke 2019, arXiv 1904.06376, section 3). The tiles
// make sixteen times as many products a cycle as AVX-512 makes in float32.
//
// A C interface, no flags for this machine's processor.

#include <cstdint>

#include "tiles.hpp"

#ifdef HAS_TILES

#include <atomic>
#include <exception>
#include <vector>

#include "threads.hpp"

namespace {

// All three parts of 16 rows (or columns) and 32 of what is summed over lie together, one tile each.
constexpr int64_t PARTS = 3;
// Rows of the left, and how much of their length, that are split at a time: they stay in the second-level cache.
constexpr int64_t MOST_ROWS = 256, MOST_DEPTH = 384;

constexpr int32_t UPPER = int32_t(0xffff0000);  // of a float: a bfloat16, rounded towards zero

struct Parts {
  __m512i high, middle, low;  // each a float's upper half, the lower is zero
};

WITH_TILES inline Parts split(__m512 number) {
  const __m512i upper = _mm512_set1_epi32(UPPER);
  const __m512i high = _mm512_and_si512(_mm512_castps_si512(number), upper);
  const __m512 rest = _mm512_sub_ps(number, _mm512_castsi512_ps(high));
  const __m512i middle = _mm512_and_si512(_mm512_castps_si512(rest), upper);
  const __m512 last = _mm512_sub_ps(rest, _mm512_castsi512_ps(middle));
  return {high, middle, _mm512_castps_si512(last)};
}

// Sixteen parts in 32 bytes.
WITH_TILES inline void put(__m512i part, uint16_t *out) {
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(part, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), half);
}

// `from`: (rows, depth), `stride` apart. Rows are filled up with zeros to an even number of tiles.
WITH_TILES void split_left(const float *from, int64_t stride, int64_t rows, int64_t depth, uint16_t *out) {
  const int64_t padded = (rows + 2 * SIDE - 1) / (2 * SIDE) * (2 * SIDE);
  for (int64_t row = 0; row < padded; ++row)
    for (int64_t k = 0; k < depth; k += SIDE) {
      const int64_t place = row / SIDE * (depth / DEPTH) + k / DEPTH;
      uint16_t *tile = out + place * PARTS * TILE + row % SIDE * DEPTH + k % DEPTH;
      const Parts parts =
          split(row < rows ? _mm512_loadu_ps(from + row * stride + k) : _mm512_setzero_ps());
      put(parts.high, tile);
      put(parts.middle, tile + TILE);
      put(parts.low, tile + 2 * TILE);
    }
}

// Two parts of each of sixteen columns, that stand one below the other, side by side.
WITH_TILES inline void put_pairs(__m512i above, __m512i below, uint16_t *out) {
  _mm512_storeu_si512(out, _mm512_or_si512(_mm512_srli_epi32(above, 16), below));
}

// Sixteen columns of the right, of whose numbers `from` has (depth, 16), rows `stride` apart.
WITH_TILES void split_right(const float *from, int64_t stride, int64_t depth, uint16_t *out) {
  const __m512i upper = _mm512_set1_epi32(UPPER);
  for (int64_t k = 0; k < depth; k += 2) {
    uint16_t *tile = out + k / DEPTH * PARTS * TILE + k % DEPTH * SIDE;
    const Parts above = split(_mm512_loadu_ps(from + k * stride));
    const Parts below = split(_mm512_loadu_ps(from + (k + 1) * stride));
    put_pairs(above.high, below.high, tile);
    put_pairs(above.middle, below.middle, tile + TILE);
    put_pairs(above.low, _mm512_and_si512(below.low, upper), tile + 2 * TILE);
  }
}

struct Task {
  const float *left;  // (rows, depth), rows left_stride apart
  int64_t left_stride, rows, depth;
  const float *right;  // (columns, depth): its rows right_stride apart, or, `across`, its columns
  int64_t right_stride, columns;
  bool across;
  const float *bias;  // null, or (columns)
  float *out;         // (rows, columns)
  uint16_t *split;    // of the right
  std::atomic<int64_t> *next;
};

// The parts of what the right has of a stretch of the depth begin there.
inline int64_t place_of(const Task &task, int64_t first, int64_t depth, int64_t column) {
  return (first * task.columns + column * depth) * PARTS;
}

void split_columns(void *given) WITH_TILES;
void split_columns(void *given) {
  const Task &task = *static_cast<const Task *>(given);
  std::vector<float> turned(size_t(MOST_DEPTH * SIDE));
  for (int64_t column; (column = SIDE * (*task.next)++) < task.columns;)
    for (int64_t first = 0; first < task.depth; first += MOST_DEPTH) {
      const int64_t depth = std::min(MOST_DEPTH, task.depth - first);
      uint16_t *out = task.split + place_of(task, first, depth, column);
      if (task.across) {
        split_right(task.right + first * task.right_stride + column, task.right_stride, depth, out);
      } else {
        const float *from = task.right + column * task.right_stride + first;
        for (int64_t k = 0; k < depth; k += SIDE)
          turn_sixteen(from + k, task.right_stride, turned.data() + k * SIDE);
        split_right(turned.data(), SIDE, depth, out);
      }
    }
}

// 32 rows by 32 columns: `out` = `start` + left right^T. Rows of `start` and of `out` are so many bytes apart.
// Of two products that follow each other one side is the same, so that less is loaded.
WITH_TILES void multiply(const uint16_t *above, const uint16_t *below, const uint16_t *left_columns,
                         const uint16_t *right_columns, int64_t depth, const float *start,
                         int64_t start_stride, float *out, int64_t out_stride) {
  const int64_t start_down = start_stride / 4 * SIDE, out_down = out_stride / 4 * SIDE;
  _tile_loadd(0, start, start_stride);
  _tile_loadd(1, start + SIDE, start_stride);
  _tile_loadd(2, start + start_down, start_stride);
  _tile_loadd(3, start + start_down + SIDE, start_stride);
  for (int64_t k = 0; k < depth; k += DEPTH) {
#define ROWS(part)                              \
  _tile_loadd(4, above + (part) * TILE, 64);    \
  _tile_loadd(5, below + (part) * TILE, 64);
#define COLUMNS(part)                                  \
  _tile_loadd(6, left_columns + (part) * TILE, 64);    \
  _tile_loadd(7, right_columns + (part) * TILE, 64);
#define PRODUCTS            \
  _tile_dpbf16ps(0, 4, 6);  \
  _tile_dpbf16ps(1, 4, 7);  \
  _tile_dpbf16ps(2, 5, 6);  \
  _tile_dpbf16ps(3, 5, 7);
    ROWS(2) COLUMNS(0) PRODUCTS
    ROWS(0) PRODUCTS
    COLUMNS(2) PRODUCTS
    COLUMNS(1) PRODUCTS
    ROWS(1) PRODUCTS
    COLUMNS(0) PRODUCTS
#undef ROWS
#undef COLUMNS
#undef PRODUCTS
    above += PARTS * TILE;
    below += PARTS * TILE;
    left_columns += PARTS * TILE;
    right_columns += PARTS * TILE;
  }
  _tile_stored(0, out, out_stride);
  _tile_stored(1, out + SIDE, out_stride);
  _tile_stored(2, out + out_down, out_stride);
  _tile_stored(3, out + out_down + SIDE, out_stride);
}

// So many rows of 32 numbers; `to`'s and `from`'s are so many numbers apart.
WITH_TILES void copy_rows(const float *from, int64_t from_stride, int64_t rows, float *to, int64_t to_stride) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t j = 0; j < 2 * SIDE; j += SIDE)
      _mm512_storeu_ps(to + row * to_stride + j, _mm512_loadu_ps(from + row * from_stride + j));
}

void multiply_rows(void *given) WITH_TILES;
void multiply_rows(void *given) {
  const Task &task = *static_cast<const Task *>(given);
  std::vector<uint16_t> room(size_t(MOST_ROWS * MOST_DEPTH * PARTS) + 32);
  uint16_t *split = room.data();
  while (reinterpret_cast<uintptr_t>(split) % 64) ++split;
  alignas(64) float last[4 * SIDE * SIDE];  // where fewer than 32 rows are left
  static const float zeros[2 * SIDE] = {};
  const Configured configured;
  for (int64_t from; (from = MOST_ROWS * (*task.next)++) < task.rows;) {
    const int64_t rows = std::min(MOST_ROWS, task.rows - from);
    for (int64_t first = 0; first < task.depth; first += MOST_DEPTH) {
      const int64_t depth = std::min(MOST_DEPTH, task.depth - first);
      split_left(task.left + from * task.left_stride + first, task.left_stride, rows, depth, split);
      for (int64_t column = 0; column < task.columns; column += 2 * SIDE) {
        const uint16_t *right = task.split + place_of(task, first, depth, column);
        for (int64_t row = 0; row < rows; row += 2 * SIDE) {
          const uint16_t *left = split + row * depth * PARTS;
          float *out = task.out + (from + row) * task.columns + column;
          const bool whole = row + 2 * SIDE <= rows;
          float *sums = whole ? out : last;
          const int64_t apart = whole ? task.columns : 2 * SIDE;
          if (!whole && first) copy_rows(out, task.columns, rows - row, last, 2 * SIDE);
          const float *start = first ? sums : task.bias ? task.bias + column : zeros;
          multiply(left, left + SIDE * depth * PARTS, right, right + SIDE * depth * PARTS, depth, start,
                   first ? apart * 4 : 0, sums, apart * 4);
          if (!whole) copy_rows(last, 2 * SIDE, rows - row, out, task.columns);
        }
      }
    }
  }
}

}  // namespace

#endif  // HAS_TILES

extern "C" {

// Whether this processor can run `customir_split_product`.
int32_t customir_has_tiles() {
#ifdef HAS_TILES
  return has_tiles();
#else
  return 0;
#endif
}

// out = left right^T + bias. `depth` and `columns` are multiples of 32. 0, or -1: no tiles; -2: no memory.
int32_t customir_split_product(const float *left, int64_t left_stride, int64_t rows, int64_t depth,
                               const float *right, int64_t right_stride, int64_t columns,
                               int32_t across, const float *bias, float *out, int32_t threads) {
  if (!customir_has_tiles()) return -1;
#ifdef HAS_TILES
  try {
    static thread_local std::vector<uint16_t> room;  // kept: it is as large in the next call
    const size_t wanted = size_t(columns * depth * PARTS) + 32;
    if (room.size() < wanted) room.resize(wanted);
    uint16_t *split = room.data();
    while (reinterpret_cast<uintptr_t>(split) % 64) ++split;
    std::atomic<int64_t> next{0};
    Task task{left, left_stride, rows, depth, right, right_stride, columns, bool(across), bias, out,
              split, &next};
    run(split_columns, &task, threads);
    next = 0;
    run(multiply_rows, &task, threads);
  } catch (const std::exception &) {
    return -2;
  }
#endif
  return 0;
}

}  // extern "C"
