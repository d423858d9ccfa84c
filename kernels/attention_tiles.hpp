// Attention in bfloat16 by a processor's tiles: as attention_loops.hpp has it, but the products of
// bfloat16, added up in floats. Probabilities, and what goes to a score, are rounded to bfloat16 for these.
// A head's width is a multiple of 32.

namespace with_tiles {

using avx512::Vector;

inline int64_t filled_up(int64_t number) { return (number + 2 * SIDE - 1) / (2 * SIDE) * (2 * SIDE); }

// 32 rows of a left side, and how to come to the next 32 of what is summed over. In numbers.
struct Left {
  const uint16_t *above, *below;
  int64_t row, step;
};

// 32 columns of a right side, laid out as tiles: 16, and 16 beside them; tiles of each follow one another.
struct Right {
  const uint16_t *columns, *beside;
};

// out (+)= left right, 32 by 32 floats; `tiles`: of what is summed over.
WITH_TILES inline void multiply(Left left, Right right, int64_t tiles, float *out, int64_t out_row,
                                bool add) {
  float *below = out + SIDE * out_row;
  if (add) {
    _tile_loadd(0, out, out_row * 4);
    _tile_loadd(1, out + SIDE, out_row * 4);
    _tile_loadd(2, below, out_row * 4);
    _tile_loadd(3, below + SIDE, out_row * 4);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    _tile_loadd(4, left.above + tile * left.step, left.row * 2);
    _tile_loadd(5, left.below + tile * left.step, left.row * 2);
    _tile_loadd(6, right.columns + tile * TILE, 64);
    _tile_loadd(7, right.beside + tile * TILE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, out_row * 4);
  _tile_stored(1, out + SIDE, out_row * 4);
  _tile_stored(2, below, out_row * 4);
  _tile_stored(3, below + SIDE, out_row * 4);
}

// Rows of numbers one after the other, of which the first is asked for.
inline Left rows_from(const uint16_t *first, int64_t width) {
  return {first, first + SIDE * width, width, DEPTH};
}

// Of tiles by columns, `tiles` for each 16, those of the columns from `column` on, from `tile` on.
inline Right columns_from(const uint16_t *laid, int64_t tiles, int64_t column, int64_t tile = 0) {
  const uint16_t *first = laid + (column / SIDE * tiles + tile) * TILE;
  return {first, first + tiles * TILE};
}

inline Left turned_from(const uint16_t *laid, int64_t tiles, int64_t row, int64_t tile) {
  const Right found = columns_from(laid, tiles, row, tile);
  return {found.columns, found.beside, DEPTH, TILE};
}

// `length` rows of `width` numbers, `stride` apart, one after the other, and zeros up to `padded` rows.
WITH_TILES void copy(const uint16_t *from, int64_t stride, int64_t length, int64_t width,
                     int64_t padded, uint16_t *out) {
  for (int64_t i = 0; i < length; ++i) std::memcpy(out + i * width, from + i * stride, width * 2);
  std::memset(out + length * width, 0, (padded - length) * width * 2);
}

// The rows as columns of a right side: what is summed over is their width.
WITH_TILES void lay_across(const uint16_t *rows, int64_t padded, int64_t width, uint16_t *out) {
  for (int64_t i = 0; i < padded; i += SIDE)
    for (int64_t j = 0; j < width; j += DEPTH, out += TILE)
      turn_sixteen(rows + i * width + j, width / 2, out);
}

// Each number of `above` with that of `below` behind it.
WITH_TILES inline __m512i paired(__m256i above, __m256i below) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(above), _mm512_slli_epi32(_mm512_cvtepu16_epi32(below), 16));
}

// The rows as a right side of which they are what is summed over; or, `turned`, as a left side.
WITH_TILES void lay_pairs(const uint16_t *rows, int64_t padded, int64_t width, bool turned,
                          uint16_t *out) {
  alignas(64) uint16_t tile[TILE];
  for (int64_t j = 0; j < width; j += SIDE)
    for (int64_t i = 0; i < padded; i += DEPTH, out += TILE) {
      uint16_t *laid = turned ? tile : out;
      for (int64_t pair = 0; pair < SIDE; ++pair) {
        const uint16_t *from = rows + (i + 2 * pair) * width + j;
        const __m256i above = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
        const __m256i below = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + width));
        _mm512_storeu_si512(laid + pair * DEPTH, paired(above, below));
      }
      if (turned) turn_sixteen(tile, SIDE, out);
    }
}

WITH_TILES inline __m256i rounded(__m512 numbers) { return (__m256i)_mm512_cvtneps_pbh(numbers); }

// Sixteen floats times `scale`, in bfloat16.
WITH_TILES inline void put(__m512 numbers, float scale, uint16_t *out) {
  const __m256i half = rounded(_mm512_mul_ps(numbers, _mm512_set1_ps(scale)));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), half);
}

// A query's scores to e^score, but for a factor that does not matter; 0 from `length` on. Returns what they have
// to be multiplied by to be probabilities. `bias`: null, or what is added.
WITH_TILES inline float softmax(float *scores, int64_t length, int64_t padded, float scale,
                                const float *bias) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < padded; j += SIDE) {
    const int64_t there = std::min(SIDE, std::max<int64_t>(0, length - j));
    const __mmask16 mask = __mmask16((1u << there) - 1);
    __m512 held = _mm512_mul_ps(_mm512_loadu_ps(scores + j), _mm512_set1_ps(scale));
    if (bias) held = _mm512_add_ps(held, _mm512_maskz_loadu_ps(mask, bias + j));
    held = _mm512_mask_blend_ps(mask, _mm512_set1_ps(-INFINITY), held);
    _mm512_storeu_ps(scores + j, held);
    most = _mm512_max_ps(most, held);
  }
  const Vector highest = avx512::most_of((Vector)most);
  Vector sums{};
  for (int64_t j = 0; j < padded; j += SIDE) {
    Vector &held = *reinterpret_cast<Vector *>(scores + j);
    held = avx512::exponential(held - highest);
    sums += held;
  }
  return 1 / avx512::sum_of(sums)[0];
}

// As attention_loops.hpp: a text's and a head's matrices, and blocks of scores.
int64_t scratch_floats(int64_t length, int64_t width) {
  return filled_up(length) * (8 * width + 4 * BLOCK) + 2 * BLOCK * width + 64;
}

WITH_TILES void forward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = filled_up(length);
  const int64_t all = task.heads * width, stride = 3 * all, size = padded * width;
  const int64_t deep = width / DEPTH, long_ = padded / DEPTH;
  const uint16_t *joint =
      static_cast<const uint16_t *>(task.joint) + task.starts[text] * stride + head * width;
  uint16_t *context =
      static_cast<uint16_t *>(task.context) + task.starts[text] * all + head * width;
  float *scores = scratch, *made = scores + BLOCK * padded;
  uint16_t *queries = reinterpret_cast<uint16_t *>(made + BLOCK * width), *rows_of = queries + size;
  uint16_t *keys = rows_of + size, *values = keys + size, *shares_of = values + size;
  copy(joint + all, stride, length, width, padded, rows_of);
  lay_across(rows_of, padded, width, keys);
  copy(joint + 2 * all, stride, length, width, padded, rows_of);
  lay_pairs(rows_of, padded, width, false, values);
  copy(joint, stride, length, width, padded, queries);
  const Configured configured;
  for (int64_t first = 0; first < length; first += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - first), filled = filled_up(rows);
    for (int64_t i = 0; i < filled; i += 2 * SIDE)
      for (int64_t j = 0; j < padded; j += 2 * SIDE)
        multiply(rows_from(queries + (first + i) * width, width), columns_from(keys, deep, j), deep,
                 scores + i * padded + j, padded, false);
    float shares[BLOCK];
    for (int64_t i = 0; i < rows; ++i) {
      const float *bias =
          task.bias ? task.bias + (head * task.bias_side + first + i) * task.bias_side : nullptr;
      shares[i] = softmax(scores + i * padded, length, padded, 1 / std::sqrt(float(width)), bias);
      for (int64_t j = 0; j < padded; j += SIDE)
        put(_mm512_loadu_ps(scores + i * padded + j), 1, shares_of + i * padded + j);
    }
    std::memset(shares_of + rows * padded, 0, (filled - rows) * padded * 2);
    for (int64_t i = 0; i < filled; i += 2 * SIDE)
      for (int64_t j = 0; j < width; j += 2 * SIDE)
        multiply(rows_from(shares_of + i * padded, padded), columns_from(values, long_, j), long_,
                 made + i * width + j, width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += SIDE)
        put(_mm512_loadu_ps(made + i * width + j), shares[i], context + (first + i) * all + j);
  }
}

// (width, padded) floats as rows of `width` numbers, times `scale`; `length` of them.
WITH_TILES void put_turned(const float *from, int64_t padded, int64_t length, int64_t width,
                           float scale, uint16_t *out, int64_t stride) {
  alignas(64) float block[SIDE * SIDE];
  for (int64_t i = 0; i < length; i += SIDE)
    for (int64_t j = 0; j < width; j += SIDE) {
      turn_sixteen(from + j * padded + i, padded, block);
      for (int64_t row = 0; row < std::min(SIDE, length - i); ++row)
        put(_mm512_load_ps(block + row * SIDE), scale, out + (i + row) * stride + j);
    }
}

// Two rows of floats, from 16 columns on, as a row of a tile.
WITH_TILES inline void put_pair(const float *above, const float *below, uint16_t *out) {
  const __m512i pair = paired(rounded(_mm512_loadu_ps(above)), rounded(_mm512_loadu_ps(below)));
  _mm512_storeu_si512(out, pair);
}

WITH_TILES void backward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = filled_up(length);
  const int64_t all = task.heads * width, stride = 3 * all, size = padded * width;
  const int64_t deep = width / DEPTH, long_ = padded / DEPTH, tall = BLOCK / DEPTH;
  const float scale = 1 / std::sqrt(float(width));
  const int64_t place = task.starts[text] * stride + head * width;
  const uint16_t *joint = static_cast<const uint16_t *>(task.joint) + place;
  uint16_t *to_joint = static_cast<uint16_t *>(task.to_joint) + place;
  float *found = scratch, *to_found = found + BLOCK * padded, *made = to_found + BLOCK * padded;
  float *to_keys = made + BLOCK * width, *to_values = to_keys + size;  // turned: (width, padded)
  uint16_t *queries = reinterpret_cast<uint16_t *>(to_values + size), *queries_turned = queries + size;
  uint16_t *gradient = queries_turned + size, *gradient_turned = gradient + size;
  uint16_t *rows_of = gradient_turned + size, *keys = rows_of + size, *keys_across = keys + size;
  uint16_t *values_across = keys_across + size, *to_scores = values_across + size;
  uint16_t *shares_paired = to_scores + BLOCK * padded, *to_scores_paired = shares_paired + BLOCK * padded;
  copy(joint + 2 * all, stride, length, width, padded, rows_of);
  lay_across(rows_of, padded, width, values_across);
  copy(joint + all, stride, length, width, padded, rows_of);
  lay_across(rows_of, padded, width, keys_across);
  lay_pairs(rows_of, padded, width, false, keys);
  copy(joint, stride, length, width, padded, queries);
  lay_pairs(queries, padded, width, true, queries_turned);
  copy(static_cast<const uint16_t *>(task.gradient) + task.starts[text] * all + head * width, all, length,
       width, padded, gradient);
  lay_pairs(gradient, padded, width, true, gradient_turned);
  std::fill_n(to_keys, 2 * size, 0.0f);
  const Configured configured;
  for (int64_t first = 0; first < length; first += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - first), filled = filled_up(rows);
    for (int64_t i = 0; i < filled; i += 2 * SIDE)
      for (int64_t j = 0; j < padded; j += 2 * SIDE) {
        const int64_t from = (first + i) * width, to = i * padded + j;
        multiply(rows_from(queries + from, width), columns_from(keys_across, deep, j), deep, found + to,
                 padded, false);
        multiply(rows_from(gradient + from, width), columns_from(values_across, deep, j), deep,
                 to_found + to, padded, false);
      }
    for (int64_t i = 0; i < rows; ++i) {
      float *held = found + i * padded, *to_held = to_found + i * padded;
      const float *bias =
          task.bias ? task.bias + (head * task.bias_side + first + i) * task.bias_side : nullptr;
      const float share = softmax(held, length, padded, scale, bias);
      Vector sums{};
      for (int64_t j = 0; j < padded; j += SIDE) {
        Vector &probability = *reinterpret_cast<Vector *>(held + j);
        probability *= share;
        sums += probability * *reinterpret_cast<Vector *>(to_held + j);
      }
      const Vector mean = avx512::sum_of(sums);
      for (int64_t j = 0; j < padded; j += SIDE) {
        Vector &score = *reinterpret_cast<Vector *>(to_held + j);
        score = (score - mean) * *reinterpret_cast<const Vector *>(held + j);
        put((__m512)score, 1, to_scores + i * padded + j);
      }
    }
    std::fill_n(found + rows * padded, (filled - rows) * padded, 0.0f);
    std::fill_n(to_found + rows * padded, (filled - rows) * padded, 0.0f);
    std::memset(to_scores + rows * padded, 0, (filled - rows) * padded * 2);
    for (int64_t j = 0; j < padded; j += SIDE)
      for (int64_t i = 0; i < filled; i += 2) {
        const int64_t from = i * padded + j;
        const int64_t to = (j / SIDE * tall + i / DEPTH) * TILE + i % DEPTH * SIDE;
        put_pair(found + from, found + from + padded, shares_paired + to);
        put_pair(to_found + from, to_found + from + padded, to_scores_paired + to);
      }
    for (int64_t i = 0; i < filled; i += 2 * SIDE)
      for (int64_t j = 0; j < width; j += 2 * SIDE)
        multiply(rows_from(to_scores + i * padded, padded), columns_from(keys, long_, j), long_,
                 made + i * width + j, width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += SIDE)
        put(_mm512_loadu_ps(made + i * width + j), scale, to_joint + (first + i) * stride + j);
    for (int64_t i = 0; i < width; i += 2 * SIDE)
      for (int64_t j = 0; j < padded; j += 2 * SIDE) {
        const int64_t to = i * padded + j, tile = first / DEPTH, tiles = filled / DEPTH;
        multiply(turned_from(queries_turned, long_, i, tile), columns_from(to_scores_paired, tall, j),
                 tiles, to_keys + to, padded, true);
        multiply(turned_from(gradient_turned, long_, i, tile), columns_from(shares_paired, tall, j),
                 tiles, to_values + to, padded, true);
      }
  }
  put_turned(to_keys, padded, length, width, scale, to_joint + all, stride);
  put_turned(to_values, padded, length, width, 1, to_joint + 2 * all, stride);
}

}  // namespace with_tiles
