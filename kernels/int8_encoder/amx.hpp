// The encoder by AMX: products of int8, and attention in bfloat16. All else is as in avx512_vnni.hpp.

#pragma once

#include "../amx.hpp"
#include "../attention/amx.hpp"
#include "avx512_vnni.hpp"

namespace {
namespace int8_amx {

namespace attention_amx = amx;

TARGET_AMX void multiply(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows,
                         int32_t *out) {
  const int64_t depth = matrix.depth;
  const int8_t *right = matrix.weights + column * depth, *beside = right + TILE_ROWS * depth;
  const uint8_t *below = left + TILE_ROWS * depth;
  _tile_zero(0);
  _tile_zero(1);
  if (rows <= TILE_ROWS) {
    for (int64_t k = 0; k < depth; k += TILE_ROW_BYTES) {
      _tile_loadd(4, left + k, depth);
      _tile_loadd(6, right + k * TILE_ROWS, TILE_ROW_BYTES);
      _tile_loadd(7, beside + k * TILE_ROWS, TILE_ROW_BYTES);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    }
  } else {
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < depth; k += TILE_ROW_BYTES) {
      _tile_loadd(4, left + k, depth);
      _tile_loadd(5, below + k, depth);
      _tile_loadd(6, right + k * TILE_ROWS, TILE_ROW_BYTES);
      _tile_loadd(7, beside + k * TILE_ROWS, TILE_ROW_BYTES);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(2, out + TILE_ROWS * BLOCK, BLOCK * 4);
    _tile_stored(3, out + TILE_ROWS * BLOCK + TILE_ROWS, BLOCK * 4);
  }
  _tile_stored(0, out, BLOCK * 4);
  _tile_stored(1, out + TILE_ROWS, BLOCK * 4);
}

// 2^x for x of at most 0, with a relative error of 4e-5: a Taylor series for the fractional part.
TARGET_AMX inline __m512 power_of_two(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_fmadd_ps(_mm512_set1_ps(9.6181291e-3f), rest, _mm512_set1_ps(5.5504109e-2f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022651e-1f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314718e-1f));
  return _mm512_scalef_ps(_mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1)), whole);
}

// Sixteen scores, of which only the first `there` exist; the others are -1e30.
TARGET_AMX inline __m512 load_scores(const float *scores, int64_t there) {
  const uint32_t held = there < 0 ? 0 : there < TILE_ROWS ? uint32_t(there) : uint32_t(TILE_ROWS);
  return _mm512_mask_loadu_ps(_mm512_set1_ps(-1e30f), __mmask16((1u << held) - 1), scores);
}

// Writes a query's unnormalised probabilities in bfloat16, with zeros from `length` on, and returns the factor that
// normalises them.
TARGET_AMX inline float to_probabilities(const float *scores, int64_t length, int64_t padded, float scale,
                                  uint16_t *probabilities) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < padded; j += TILE_ROWS)
    most = _mm512_max_ps(most, load_scores(scores + j, length - j));
  const __m512 factor = _mm512_set1_ps(scale), highest = _mm512_set1_ps(-scale * _mm512_reduce_max_ps(most));
  __m512 sums = _mm512_setzero_ps();
  for (int64_t j = 0; j < padded; j += TILE_INNER) {
    const __m512 first = load_scores(scores + j, length - j);
    const __m512 second = load_scores(scores + j + TILE_ROWS, length - j - TILE_ROWS);
    const __m512 one = power_of_two(_mm512_fmadd_ps(first, factor, highest));
    const __m512 other = power_of_two(_mm512_fmadd_ps(second, factor, highest));
    sums = _mm512_add_ps(sums, _mm512_add_ps(one, other));
    _mm512_storeu_si512(probabilities + j, (__m512i)_mm512_cvtne2ps_pbh(other, one));
  }
  return 1 / _mm512_reduce_add_ps(sums);
}

// Adds `times` * bias to a query's scores.
TARGET_AMX inline void add(const float *bias, float times, int64_t length, float *scores) {
  const __m512 factor = _mm512_set1_ps(times);
  for (int64_t j = 0; j < length; j += TILE_ROWS) {
    const __mmask16 there = __mmask16((1u << std::min(TILE_ROWS, length - j)) - 1);
    const __m512 added = _mm512_maskz_loadu_ps(there, bias + j);
    _mm512_storeu_ps(scores + j, _mm512_fmadd_ps(added, factor, _mm512_loadu_ps(scores + j)));
  }
}

// Attention of one text and head, by the algorithm of attention/amx.hpp. `qkv` is followed by 31 rows of finite numbers
// that do not count, so that it can be read in place. `bias` is null or has rows of `bias_side` numbers.
TARGET_AMX void attend_one(const uint16_t *qkv, int64_t length, int64_t width, int64_t model_width,
                                const float *bias, int64_t bias_side, uint16_t *context, float *scratch) {
  const int64_t padded = attention_amx::round_up(length), stride = 3 * model_width, size = padded * width;
  const float root = std::sqrt(float(width)), scale = 1.44269504f / root;
  const uint16_t *key = qkv + model_width, *value = qkv + 2 * model_width;
  float *scores = scratch, *output = scores + BLOCK * padded;
  uint16_t *keys = reinterpret_cast<uint16_t *>(output + BLOCK * width), *values = keys + size;
  uint16_t *probabilities = values + size;
  for (int64_t i = 0, at = 0; i < padded; i += TILE_ROWS)
    for (int64_t j = 0; j < width; j += TILE_INNER, at += TILE_SIZE)
      transpose_16x16(key + i * stride + j, stride / 2, keys + at);
  for (int64_t j = 0, at = 0; j < width; j += TILE_ROWS)
    for (int64_t i = 0; i < padded; i += 2, at += TILE_INNER) {
      const uint16_t *from = value + i * stride + j;
      const __m256i above = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
      const __m256i below = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + stride));
      _mm512_storeu_si512(values + at, attention_amx::interleave(above, below));
    }
  for (int64_t first = 0; first < length; first += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - first);
    for (int64_t j = 0; j < padded; j += BLOCK)
      attention_amx::multiply(attention_amx::rows_from(qkv + first * stride, stride),
                           attention_amx::columns_from(keys, width / TILE_INNER, j), width / TILE_INNER, scores + j,
                           padded, false);
    float factors[BLOCK];
    for (int64_t i = 0; i < rows; ++i) {
      if (bias) add(bias + (first + i) * bias_side, root, length, scores + i * padded);
      factors[i] = to_probabilities(scores + i * padded, length, padded, scale, probabilities + i * padded);
    }
    for (int64_t j = 0; j < width; j += BLOCK)
      attention_amx::multiply(attention_amx::rows_from(probabilities, padded),
                           attention_amx::columns_from(values, padded / TILE_INNER, j), padded / TILE_INNER, output + j,
                           width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += TILE_ROWS)
        attention_amx::store(_mm512_loadu_ps(output + i * width + j), factors[i], context + (first + i) * model_width + j);
  }
}

TARGET_AMX void attend(const Encoder &encoder, const Batch &batch, uint16_t *qkv, uint16_t *context,
                       Buffers &buffers) {
  const int64_t model_width = encoder.width, width = model_width / encoder.heads;
  const int64_t longest = attention_amx::round_up(batch.longest);
  float *scratch = reserve(buffers.scratch, size_t(longest * (width + 3 * BLOCK / 2) + BLOCK * width));
  std::memset(qkv + batch.tokens * 3 * model_width, 0, BLOCK * 3 * model_width * sizeof *qkv);
  for (int64_t text = 0; text < batch.texts; ++text)
    for (int64_t head = 0; head < encoder.heads; ++head) {
      const int64_t start = batch.starts[text], side = encoder.max_tokens;
      attend_one(qkv + start * 3 * model_width + head * width, batch.lengths[text], width, model_width,
                      encoder.bias ? encoder.bias + head * side * side : nullptr, side,
                      context + start * model_width + head * width, scratch);
    }
}

void encode_batch(const Encoder &encoder, const Batch &batch, const int32_t *ids, float *out) {
  const ConfiguredTiles configured;
  int8_avx512_vnni::encode<uint16_t>(encoder, batch, ids, multiply, attend, out);
}

}  // namespace int8_amx
}  // namespace
