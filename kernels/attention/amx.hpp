// Attention in bfloat16 by AMX: the algorithm of loops.hpp with products of bfloat16 that are added up in floats.
// Probabilities and the gradients of scores are rounded to bfloat16 for these. A head's width is a multiple of 32.

#pragma once

#include "../amx.hpp"
#include "avx512.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

namespace amx {

using avx512::Vector;

inline int64_t round_up(int64_t number) { return (number + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS) * (2 * TILE_ROWS); }

// 32 rows of a left factor: the first and the second 16, the distance between rows, and the distance to the next
// tile along the inner dimension. Distances are in numbers.
struct Left {
  const uint16_t *above, *below;
  int64_t row, step;
};

// 32 columns of a right factor, laid out as tiles: the first and the second 16. The tiles of each are consecutive.
struct Right {
  const uint16_t *columns, *beside;
};

// out (+)= left right, 32 by 32 floats. `tiles`: the length of the inner dimension.
TARGET_AMX inline void multiply(Left left, Right right, int64_t tiles, float *out, int64_t out_row,
                                bool add) {
  float *below = out + TILE_ROWS * out_row;
  if (add) {
    _tile_loadd(0, out, out_row * 4);
    _tile_loadd(1, out + TILE_ROWS, out_row * 4);
    _tile_loadd(2, below, out_row * 4);
    _tile_loadd(3, below + TILE_ROWS, out_row * 4);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    _tile_loadd(4, left.above + tile * left.step, left.row * 2);
    _tile_loadd(5, left.below + tile * left.step, left.row * 2);
    _tile_loadd(6, right.columns + tile * TILE_SIZE, 64);
    _tile_loadd(7, right.beside + tile * TILE_SIZE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, out_row * 4);
  _tile_stored(1, out + TILE_ROWS, out_row * 4);
  _tile_stored(2, below, out_row * 4);
  _tile_stored(3, below + TILE_ROWS, out_row * 4);
}

// 32 rows from `first` on, each `width` numbers after the one before.
inline Left rows_from(const uint16_t *first, int64_t width) {
  return {first, first + TILE_ROWS * width, width, TILE_INNER};
}

// The tiles of 32 columns from `column` on, beginning with tile number `tile`. `laid` holds `tiles` tiles for each 16
// columns.
inline Right columns_from(const uint16_t *laid, int64_t tiles, int64_t column, int64_t tile = 0) {
  const uint16_t *first = laid + (column / TILE_ROWS * tiles + tile) * TILE_SIZE;
  return {first, first + tiles * TILE_SIZE};
}

// As `columns_from`, for a left factor that was laid out as transposed tiles.
inline Left transposed_from(const uint16_t *laid, int64_t tiles, int64_t row, int64_t tile) {
  const Right probabilities = columns_from(laid, tiles, row, tile);
  return {probabilities.columns, probabilities.beside, TILE_INNER, TILE_SIZE};
}

// Copies `length` rows of `width` numbers, which are `stride` apart, to consecutive rows, with zeros up to `padded`
// rows.
TARGET_AMX void copy(const uint16_t *from, int64_t stride, int64_t length, int64_t width,
                     int64_t padded, uint16_t *out) {
  for (int64_t i = 0; i < length; ++i) std::memcpy(out + i * width, from + i * stride, width * 2);
  std::memset(out + length * width, 0, (padded - length) * width * 2);
}

// Lays the rows out as columns of a right factor, with their width as the inner dimension.
TARGET_AMX void lay_out_columns(const uint16_t *rows, int64_t padded, int64_t width, uint16_t *out) {
  for (int64_t i = 0; i < padded; i += TILE_ROWS)
    for (int64_t j = 0; j < width; j += TILE_INNER, out += TILE_SIZE)
      transpose_16x16(rows + i * width + j, width / 2, out);
}

// Interleaves 16 numbers of each: above[0], below[0], above[1], below[1], ...
TARGET_AMX inline __m512i interleave(__m256i above, __m256i below) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(above), _mm512_slli_epi32(_mm512_cvtepu16_epi32(below), 16));
}

// Lays the rows out as a right factor with their number as the inner dimension, or, `transposed`, as a left factor.
TARGET_AMX void lay_out_pairs(const uint16_t *rows, int64_t padded, int64_t width, bool transposed,
                          uint16_t *out) {
  alignas(64) uint16_t tile[TILE_SIZE];
  for (int64_t j = 0; j < width; j += TILE_ROWS)
    for (int64_t i = 0; i < padded; i += TILE_INNER, out += TILE_SIZE) {
      uint16_t *laid = transposed ? tile : out;
      for (int64_t pair = 0; pair < TILE_ROWS; ++pair) {
        const uint16_t *from = rows + (i + 2 * pair) * width + j;
        const __m256i above = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
        const __m256i below = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + width));
        _mm512_storeu_si512(laid + pair * TILE_INNER, interleave(above, below));
      }
      if (transposed) transpose_16x16(tile, TILE_ROWS, out);
    }
}

TARGET_AMX inline __m256i to_bfloat16(__m512 numbers) { return (__m256i)_mm512_cvtneps_pbh(numbers); }

// Stores sixteen floats times `scale` as bfloat16.
TARGET_AMX inline void store(__m512 numbers, float scale, uint16_t *out) {
  const __m256i half = to_bfloat16(_mm512_mul_ps(numbers, _mm512_set1_ps(scale)));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), half);
}

// Replaces a query's scores by unnormalised probabilities, with zeros from `length` on, and returns the factor that
// normalises them. Scores are first multiplied by `scale`, and `bias`, if it is not null, is added.
TARGET_AMX inline float softmax(float *scores, int64_t length, int64_t padded, float scale,
                                const float *bias) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < padded; j += TILE_ROWS) {
    const int64_t there = std::min(TILE_ROWS, std::max<int64_t>(0, length - j));
    const __mmask16 mask = __mmask16((1u << there) - 1);
    __m512 held = _mm512_mul_ps(_mm512_loadu_ps(scores + j), _mm512_set1_ps(scale));
    if (bias) held = _mm512_add_ps(held, _mm512_maskz_loadu_ps(mask, bias + j));
    held = _mm512_mask_blend_ps(mask, _mm512_set1_ps(-INFINITY), held);
    _mm512_storeu_ps(scores + j, held);
    most = _mm512_max_ps(most, held);
  }
  const Vector highest = avx512::max_of((Vector)most);
  Vector sums{};
  for (int64_t j = 0; j < padded; j += TILE_ROWS) {
    Vector &held = *reinterpret_cast<Vector *>(scores + j);
    held = avx512::exponential(held - highest);
    sums += held;
  }
  return 1 / avx512::sum_of(sums)[0];
}

// Room for the matrices of one text and head and for blocks of scores, as in loops.hpp.
int64_t scratch_floats(int64_t length, int64_t width) {
  return round_up(length) * (8 * width + 4 * QUERIES_PER_BLOCK) + 2 * QUERIES_PER_BLOCK * width + 64;
}

TARGET_AMX void forward(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = round_up(length);
  const int64_t model_width = task.heads * width, stride = 3 * model_width, size = padded * width;
  const int64_t width_tiles = width / TILE_INNER, length_tiles = padded / TILE_INNER;
  const uint16_t *qkv =
      static_cast<const uint16_t *>(task.qkv) + task.starts[text] * stride + head * width;
  uint16_t *context =
      static_cast<uint16_t *>(task.context) + task.starts[text] * model_width + head * width;
  float *scores = scratch, *output = scores + QUERIES_PER_BLOCK * padded;
  uint16_t *queries = reinterpret_cast<uint16_t *>(output + QUERIES_PER_BLOCK * width), *text_rows = queries + size;
  uint16_t *keys = text_rows + size, *values = keys + size, *probabilities_bf16 = values + size;
  copy(qkv + model_width, stride, length, width, padded, text_rows);
  lay_out_columns(text_rows, padded, width, keys);
  copy(qkv + 2 * model_width, stride, length, width, padded, text_rows);
  lay_out_pairs(text_rows, padded, width, false, values);
  copy(qkv, stride, length, width, padded, queries);
  const ConfiguredTiles configured;
  for (int64_t first = 0; first < length; first += QUERIES_PER_BLOCK) {
    const int64_t rows = std::min(QUERIES_PER_BLOCK, length - first), filled = round_up(rows);
    for (int64_t i = 0; i < filled; i += 2 * TILE_ROWS)
      for (int64_t j = 0; j < padded; j += 2 * TILE_ROWS)
        multiply(rows_from(queries + (first + i) * width, width), columns_from(keys, width_tiles, j), width_tiles,
                 scores + i * padded + j, padded, false);
    float inverse_sums[QUERIES_PER_BLOCK];
    for (int64_t i = 0; i < rows; ++i) {
      const float *bias =
          task.bias ? task.bias + (head * task.bias_side + first + i) * task.bias_side : nullptr;
      inverse_sums[i] = softmax(scores + i * padded, length, padded, 1 / std::sqrt(float(width)), bias);
      for (int64_t j = 0; j < padded; j += TILE_ROWS)
        store(_mm512_loadu_ps(scores + i * padded + j), 1, probabilities_bf16 + i * padded + j);
    }
    std::memset(probabilities_bf16 + rows * padded, 0, (filled - rows) * padded * 2);
    for (int64_t i = 0; i < filled; i += 2 * TILE_ROWS)
      for (int64_t j = 0; j < width; j += 2 * TILE_ROWS)
        multiply(rows_from(probabilities_bf16 + i * padded, padded), columns_from(values, length_tiles, j), length_tiles,
                 output + i * width + j, width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += TILE_ROWS)
        store(_mm512_loadu_ps(output + i * width + j), inverse_sums[i], context + (first + i) * model_width + j);
  }
}

// Stores the transpose of `from`, (width, padded), times `scale`: `length` rows of `width` numbers.
TARGET_AMX void store_transposed(const float *from, int64_t padded, int64_t length, int64_t width,
                           float scale, uint16_t *out, int64_t stride) {
  alignas(64) float block[TILE_ROWS * TILE_ROWS];
  for (int64_t i = 0; i < length; i += TILE_ROWS)
    for (int64_t j = 0; j < width; j += TILE_ROWS) {
      transpose_16x16(from + j * padded + i, padded, block);
      for (int64_t row = 0; row < std::min(TILE_ROWS, length - i); ++row)
        store(_mm512_load_ps(block + row * TILE_ROWS), scale, out + (i + row) * stride + j);
    }
}

// Stores 16 columns of two rows of floats as a row of a tile.
TARGET_AMX inline void store_pair(const float *above, const float *below, uint16_t *out) {
  const __m512i pair = interleave(to_bfloat16(_mm512_loadu_ps(above)), to_bfloat16(_mm512_loadu_ps(below)));
  _mm512_storeu_si512(out, pair);
}

TARGET_AMX void backward(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = round_up(length);
  const int64_t model_width = task.heads * width, stride = 3 * model_width, size = padded * width;
  const int64_t width_tiles = width / TILE_INNER, length_tiles = padded / TILE_INNER, block_tiles = QUERIES_PER_BLOCK / TILE_INNER;
  const float scale = 1 / std::sqrt(float(width));
  const int64_t place = task.starts[text] * stride + head * width;
  const uint16_t *qkv = static_cast<const uint16_t *>(task.qkv) + place;
  uint16_t *grad_qkv = static_cast<uint16_t *>(task.grad_qkv) + place;
  float *probabilities = scratch, *grad_probabilities = probabilities + QUERIES_PER_BLOCK * padded, *output = grad_probabilities + QUERIES_PER_BLOCK * padded;
  float *grad_keys = output + QUERIES_PER_BLOCK * width, *grad_values = grad_keys + size;  // transposed: (width, padded)
  uint16_t *queries = reinterpret_cast<uint16_t *>(grad_values + size), *queries_transposed = queries + size;
  uint16_t *grad_context = queries_transposed + size, *grad_context_transposed = grad_context + size;
  uint16_t *text_rows = grad_context_transposed + size, *keys = text_rows + size, *keys_as_columns = keys + size;
  uint16_t *values_as_columns = keys_as_columns + size, *grad_scores = values_as_columns + size;
  uint16_t *probabilities_paired = grad_scores + QUERIES_PER_BLOCK * padded, *grad_scores_paired = probabilities_paired + QUERIES_PER_BLOCK * padded;
  copy(qkv + 2 * model_width, stride, length, width, padded, text_rows);
  lay_out_columns(text_rows, padded, width, values_as_columns);
  copy(qkv + model_width, stride, length, width, padded, text_rows);
  lay_out_columns(text_rows, padded, width, keys_as_columns);
  lay_out_pairs(text_rows, padded, width, false, keys);
  copy(qkv, stride, length, width, padded, queries);
  lay_out_pairs(queries, padded, width, true, queries_transposed);
  copy(static_cast<const uint16_t *>(task.grad_context) + task.starts[text] * model_width + head * width, model_width, length,
       width, padded, grad_context);
  lay_out_pairs(grad_context, padded, width, true, grad_context_transposed);
  std::fill_n(grad_keys, 2 * size, 0.0f);
  const ConfiguredTiles configured;
  for (int64_t first = 0; first < length; first += QUERIES_PER_BLOCK) {
    const int64_t rows = std::min(QUERIES_PER_BLOCK, length - first), filled = round_up(rows);
    for (int64_t i = 0; i < filled; i += 2 * TILE_ROWS)
      for (int64_t j = 0; j < padded; j += 2 * TILE_ROWS) {
        const int64_t from = (first + i) * width, to = i * padded + j;
        multiply(rows_from(queries + from, width), columns_from(keys_as_columns, width_tiles, j), width_tiles, probabilities + to,
                 padded, false);
        multiply(rows_from(grad_context + from, width), columns_from(values_as_columns, width_tiles, j), width_tiles,
                 grad_probabilities + to, padded, false);
      }
    for (int64_t i = 0; i < rows; ++i) {
      float *held = probabilities + i * padded, *to_held = grad_probabilities + i * padded;
      const float *bias =
          task.bias ? task.bias + (head * task.bias_side + first + i) * task.bias_side : nullptr;
      const float share = softmax(held, length, padded, scale, bias);
      Vector sums{};
      for (int64_t j = 0; j < padded; j += TILE_ROWS) {
        Vector &probability = *reinterpret_cast<Vector *>(held + j);
        probability *= share;
        sums += probability * *reinterpret_cast<Vector *>(to_held + j);
      }
      const Vector mean = avx512::sum_of(sums);
      for (int64_t j = 0; j < padded; j += TILE_ROWS) {
        Vector &score = *reinterpret_cast<Vector *>(to_held + j);
        score = (score - mean) * *reinterpret_cast<const Vector *>(held + j);
        store((__m512)score, 1, grad_scores + i * padded + j);
      }
    }
    std::fill_n(probabilities + rows * padded, (filled - rows) * padded, 0.0f);
    std::fill_n(grad_probabilities + rows * padded, (filled - rows) * padded, 0.0f);
    std::memset(grad_scores + rows * padded, 0, (filled - rows) * padded * 2);
    for (int64_t j = 0; j < padded; j += TILE_ROWS)
      for (int64_t i = 0; i < filled; i += 2) {
        const int64_t from = i * padded + j;
        const int64_t to = (j / TILE_ROWS * block_tiles + i / TILE_INNER) * TILE_SIZE + i % TILE_INNER * TILE_ROWS;
        store_pair(probabilities + from, probabilities + from + padded, probabilities_paired + to);
        store_pair(grad_probabilities + from, grad_probabilities + from + padded, grad_scores_paired + to);
      }
    for (int64_t i = 0; i < filled; i += 2 * TILE_ROWS)
      for (int64_t j = 0; j < width; j += 2 * TILE_ROWS)
        multiply(rows_from(grad_scores + i * padded, padded), columns_from(keys, length_tiles, j), length_tiles,
                 output + i * width + j, width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += TILE_ROWS)
        store(_mm512_loadu_ps(output + i * width + j), scale, grad_qkv + (first + i) * stride + j);
    for (int64_t i = 0; i < width; i += 2 * TILE_ROWS)
      for (int64_t j = 0; j < padded; j += 2 * TILE_ROWS) {
        const int64_t to = i * padded + j, tile = first / TILE_INNER, tiles = filled / TILE_INNER;
        multiply(transposed_from(queries_transposed, length_tiles, i, tile), columns_from(grad_scores_paired, block_tiles, j),
                 tiles, grad_keys + to, padded, true);
        multiply(transposed_from(grad_context_transposed, length_tiles, i, tile), columns_from(probabilities_paired, block_tiles, j),
                 tiles, grad_values + to, padded, true);
      }
  }
  store_transposed(grad_keys, padded, length, width, scale, grad_qkv + model_width, stride);
  store_transposed(grad_values, padded, length, width, 1, grad_qkv + 2 * model_width, stride);
}

}  // namespace amx

}  // namespace
