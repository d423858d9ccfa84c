// An encoder of BERT's kind whose weights are int8: from token ids to a text's unit vector, without padding.
//
// Texts stand one after the other, so that no token is there but theirs. What a matrix multiplies is rounded
// to 8 bits token by token, from the least to the largest of a token's numbers: so a vector does not depend on
// what else is embedded with it. Products are added up in integers, exactly; all else is float32, but for the
// attention where the processor has tiles: there, what it multiplies is bfloat16.
//
// A C interface, no flags for this machine's processor: it needs AVX512-VNNI, and takes AMX where it is.

#include <cstdint>

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <vector>

#include "attention_kernels.hpp"

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define INLINE __attribute__((always_inline)) inline

#endif

extern "C" {

// left right, as `customir_encoder_pack` has the right. All matrices have depths that are multiples of 64 and
// columns that are multiples of 32.
struct Product {
  const int8_t *weights;
  const float *scales;   // (columns): a weight is its whole number times its column's scale
  const float *sums;     // (columns): of a column's whole numbers
  const float *bias;     // (columns)
  const float *factors;  // (depth): what the left is multiplied by, number by number, before it is rounded
  int64_t depth, columns;
};

struct Norm {
  const float *weight, *bias;  // (width)
};

struct Layer {
  Product joint;  // queries, keys and values beside each other
  Product out;
  Norm after_attention;
  const Product *up, *down;  // so many parts of both: what goes up by one comes down by one, and all is added up
  int64_t parts;
  Norm after_down;
};

struct Encoder {
  const uint8_t *words;  // (vocabulary, width)
  float word_scale, word_zero;
  const float *positions;  // (longest, width): what is added to words, by their place in the text
  const float *bias;       // null, or (heads, longest, longest): what is added to scores
  Norm norm;
  const Layer *layers;
  int64_t vocabulary, longest, width, heads, depth;  // depth: layers
  float epsilon;
  int32_t first_alone;  // a text's vector is its first token's, and not the mean of all
};

}  // extern "C"

#if defined(__x86_64__)

namespace {

constexpr int64_t ROWS = 64;   // tokens that go through a product together
constexpr int64_t SQUARE = 32;  // rows and columns of a product that are made at a time

// Rows of numbers in 8 bits: a number is its whole number times its row's scale, plus the row's least.
struct Rounded {
  uint8_t *whole;
  float *scales, *least;
};

struct Buffers {
  std::vector<float> numbers, inner, scratch, narrow_rows;
  std::vector<uint8_t> narrow, broad;
  std::vector<uint16_t> joint, context;  // of floats, two a number
};

template <typename Number>
Number *room(std::vector<Number> &held, size_t wanted) {
  constexpr size_t LINE = 64 / sizeof(Number);
  if (held.size() < wanted + LINE) held.resize(wanted + LINE);
  return reinterpret_cast<Number *>((reinterpret_cast<uintptr_t>(held.data()) + 63) / 64 * 64);
}

// 32 by 32 whole numbers: left right, of which `rows` are asked for. Of the right there are 16 columns, and 16 beside.
using Multiply = void (*)(const uint8_t *left, const int8_t *right, int64_t depth, int64_t rows,
                          int32_t *out);

VNNI void multiply_vnni(const uint8_t *left, const int8_t *right, int64_t depth, int64_t rows,
                        int32_t *out) {
  constexpr int TOGETHER = 8;
  const int8_t *beside = right + SIDE * depth;
  for (int64_t row = 0; row < rows; row += TOGETHER) {
    __m512i sums[TOGETHER][2] = {};
    for (int64_t k = 0; k < depth; k += 4) {
      const __m512i columns = _mm512_loadu_si512(right + k * SIDE);
      const __m512i others = _mm512_loadu_si512(beside + k * SIDE);
#pragma GCC unroll 8
      for (int i = 0; i < TOGETHER; ++i) {
        int32_t four;
        std::memcpy(&four, left + (row + i) * depth + k, sizeof four);
        const __m512i factors = _mm512_set1_epi32(four);
        sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], factors, columns);
        sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], factors, others);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < TOGETHER; ++i) {
      _mm512_storeu_si512(out + (row + i) * SQUARE, sums[i][0]);
      _mm512_storeu_si512(out + (row + i) * SQUARE + SIDE, sums[i][1]);
    }
  }
}

#ifdef HAS_TILES
#define WITH_INT8_TILES __attribute__((target("amx-tile,amx-int8,avx512f")))

WITH_INT8_TILES void multiply_tiles(const uint8_t *left, const int8_t *right, int64_t depth,
                                    int64_t rows, int32_t *out) {
  constexpr int64_t BYTES = 64;  // of a tile's row
  const int8_t *beside = right + SIDE * depth;
  const uint8_t *below = left + SIDE * depth;
  _tile_zero(0);
  _tile_zero(1);
  if (rows <= SIDE) {
    for (int64_t k = 0; k < depth; k += BYTES) {
      _tile_loadd(4, left + k, depth);
      _tile_loadd(6, right + k * SIDE, BYTES);
      _tile_loadd(7, beside + k * SIDE, BYTES);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    }
  } else {
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < depth; k += BYTES) {
      _tile_loadd(4, left + k, depth);
      _tile_loadd(5, below + k, depth);
      _tile_loadd(6, right + k * SIDE, BYTES);
      _tile_loadd(7, beside + k * SIDE, BYTES);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(2, out + SIDE * SQUARE, SQUARE * 4);
    _tile_stored(3, out + SIDE * SQUARE + SIDE, SQUARE * 4);
  }
  _tile_stored(0, out, SQUARE * 4);
  _tile_stored(1, out + SIDE, SQUARE * 4);
}

bool has_int8_tiles() {
  static const bool found = [] {  // to ask takes long in a virtual machine
    unsigned a, b, c, d;
    return has_tiles() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & 1u << 25);
  }();
  return found;
}
#endif

VNNI INLINE __m512 number(float held) { return _mm512_set1_ps(held); }

// x Phi(x). Phi less a half is x times a ratio of polynomials of x^2, fitted on [-5, 5]: off by 1e-5 there, and by
// the 2^-14 of itself that the reciprocal is.
VNNI INLINE __m512 gelu(__m512 x) {
  constexpr int NEARER_ZERO = 0b0010;  // of two numbers, with the sign of the first
  const __m512 held = _mm512_range_ps(x, number(5), NEARER_ZERO), square = _mm512_mul_ps(held, held);
  __m512 over = _mm512_fmadd_ps(number(3.00980993e-5f), square, number(3.75906038e-3f));
  over = _mm512_fmadd_ps(over, square, number(2.94079542e-2f));
  over = _mm512_fmadd_ps(over, square, number(3.98877309e-1f));
  __m512 under = _mm512_fmadd_ps(number(1.09666537e-3f), square, number(2.46413256e-2f));
  under = _mm512_fmadd_ps(under, square, number(2.40054756e-1f));
  under = _mm512_fmadd_ps(under, square, number(1));
  const __m512 ratio = _mm512_mul_ps(over, _mm512_rcp14_ps(under));
  return _mm512_mul_ps(x, _mm512_fmadd_ps(ratio, held, number(0.5f)));
}

// What becomes of a product and its bias: rounded to bfloat16, as it is, its GELU, or added to what is there.
enum Then { HALVES, FLOATS, GELU, ADDED };

// To the nearest, of two as near the even one; without AVX512-BF16, which `product` is not compiled for.
VNNI INLINE __m256i halves(__m512 numbers) {
  const __m512i bits = _mm512_castps_si512(numbers);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_add_epi32(bits, up), 16));
}

// `rows` rows from `start` on; `out` is where they go, with as many columns.
template <Then THEN>
VNNI void product(const Product &by, const Rounded &left, int64_t start, int64_t rows, Multiply multiply,
                  void *out) {
  alignas(64) int32_t made[SQUARE * SQUARE];
  for (int64_t column = 0; column < by.columns; column += SQUARE) {
    const int8_t *right = by.weights + column * by.depth;
    for (int64_t first = 0; first < rows; first += SQUARE) {
      const int64_t there = std::min(SQUARE, rows - first);
      multiply(left.whole + (start + first) * by.depth, right, by.depth, there, made);
      for (int64_t j = column; j < column + SQUARE; j += SIDE) {
        const __m512 scales = _mm512_loadu_ps(by.scales + j), sums = _mm512_loadu_ps(by.sums + j);
        const __m512 bias = _mm512_loadu_ps(by.bias + j);
        for (int64_t i = 0; i < there; ++i) {
          const int64_t row = first + i, place = row * by.columns + j;
          const __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(made + i * SQUARE + j - column));
          const __m512 lowest = _mm512_mul_ps(sums, _mm512_set1_ps(left.least[start + row]));
          const __m512 sum = _mm512_fmadd_ps(whole, _mm512_set1_ps(left.scales[start + row]), lowest);
          const __m512 number = _mm512_fmadd_ps(sum, scales, bias);
          float *floats = static_cast<float *>(out) + place;
          if constexpr (THEN == HALVES)
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(static_cast<uint16_t *>(out) + place),
                                halves(number));
          else if constexpr (THEN == GELU)
            _mm512_storeu_ps(floats, gelu(number));
          else if constexpr (THEN == ADDED)
            _mm512_storeu_ps(floats, _mm512_add_ps(_mm512_loadu_ps(floats), number));
          else
            _mm512_storeu_ps(floats, number);
        }
      }
    }
  }
}

VNNI INLINE __m512 read(const float *from) { return _mm512_loadu_ps(from); }
VNNI INLINE __m512 read(const uint16_t *from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// Each of `rows` rows times the product's factors, into the rows from `start` on.
template <typename Number>
VNNI void round_rows(const Number *from, int64_t rows, const Product &by, const Rounded &into, int64_t start) {
  uint8_t *out = into.whole + start * by.depth;
  for (int64_t row = start; row < start + rows; ++row, from += by.depth, out += by.depth) {
    __m512 least = _mm512_set1_ps(INFINITY), most = _mm512_set1_ps(-INFINITY);
    for (int64_t j = 0; j < by.depth; j += SIDE) {
      const __m512 held = _mm512_mul_ps(read(from + j), _mm512_loadu_ps(by.factors + j));
      least = _mm512_min_ps(least, held);
      most = _mm512_max_ps(most, held);
    }
    const float lowest = _mm512_reduce_min_ps(least), range = _mm512_reduce_max_ps(most) - lowest;
    into.least[row] = lowest;
    into.scales[row] = range / 255;
    const __m512 steps = _mm512_set1_ps(range > 0 ? 255 / range : 0), low = _mm512_set1_ps(lowest);
    for (int64_t j = 0; j < by.depth; j += SIDE) {
      const __m512 held = _mm512_fmsub_ps(read(from + j), _mm512_loadu_ps(by.factors + j), low);
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(held, steps));
      const __m512i above = _mm512_max_epi32(whole, _mm512_setzero_si512());
      _mm_storeu_si128(reinterpret_cast<__m128i *>(out + j), _mm512_cvtusepi32_epi8(above));
    }
  }
}

VNNI void normalise(float *numbers, int64_t rows, int64_t width, const Norm &norm, float epsilon) {
  for (int64_t row = 0; row < rows; ++row, numbers += width) {
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    for (int64_t j = 0; j < width; j += SIDE) sum = _mm512_add_ps(sum, _mm512_loadu_ps(numbers + j));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / float(width));
    for (int64_t j = 0; j < width; j += SIDE) {
      const __m512 off = _mm512_sub_ps(_mm512_loadu_ps(numbers + j), mean);
      squares = _mm512_fmadd_ps(off, off, squares);
    }
    const float variance = _mm512_reduce_add_ps(squares) / float(width);
    const __m512 scale = _mm512_set1_ps(1 / std::sqrt(variance + epsilon));
    for (int64_t j = 0; j < width; j += SIDE) {
      const __m512 off = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(numbers + j), mean), scale);
      _mm512_storeu_ps(numbers + j, _mm512_fmadd_ps(off, _mm512_loadu_ps(norm.weight + j),
                                                    _mm512_loadu_ps(norm.bias + j)));
    }
  }
}

VNNI void look_up(const Encoder &encoder, const int32_t *ids, int64_t length, float *out) {
  const __m512 scale = _mm512_set1_ps(encoder.word_scale), zero = _mm512_set1_ps(encoder.word_zero);
  for (int64_t place = 0; place < length; ++place)
    for (int64_t j = 0; j < encoder.width; j += SIDE) {
      const uint8_t *word = encoder.words + ids[place] * encoder.width + j;
      const __m128i held = _mm_loadu_si128(reinterpret_cast<const __m128i *>(word));
      const __m512 whole = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(held));
      const __m512 position = _mm512_loadu_ps(encoder.positions + place * encoder.width + j);
      _mm512_storeu_ps(out + place * encoder.width + j,
                       _mm512_fmadd_ps(_mm512_sub_ps(whole, zero), scale, position));
    }
}

// The mean of the rows, or the first of them, of length 1.
VNNI void pool(const float *rows, int64_t length, int64_t width, float *out) {
  __m512 squares = _mm512_setzero_ps();
  for (int64_t j = 0; j < width; j += SIDE) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t row = 0; row < length; ++row)
      sum = _mm512_add_ps(sum, _mm512_loadu_ps(rows + row * width + j));
    squares = _mm512_fmadd_ps(sum, sum, squares);
    _mm512_storeu_ps(out + j, sum);
  }
  const float norm = std::sqrt(_mm512_reduce_add_ps(squares));
  const __m512 scale = _mm512_set1_ps(norm > 0 ? 1 / norm : 0);
  for (int64_t j = 0; j < width; j += SIDE)
    _mm512_storeu_ps(out + j, _mm512_mul_ps(_mm512_loadu_ps(out + j), scale));
}

// What is embedded together: texts whose tokens stand one after the other.
struct Batch {
  std::vector<int64_t> starts;
  const int64_t *lengths;
  int64_t texts, tokens, longest;
};

#ifdef HAS_TILES
// 2^x for x of at most 0, off by 4e-5 of itself: Taylor's series for what is left of a whole number.
WITH_TILES inline __m512 power_of_two(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_fmadd_ps(_mm512_set1_ps(9.6181291e-3f), rest, _mm512_set1_ps(5.5504109e-2f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022651e-1f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314718e-1f));
  return _mm512_scalef_ps(_mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1)), whole);
}

// Sixteen of so many scores; none where there are fewer.
WITH_TILES inline __m512 scores_from(const float *scores, int64_t there) {
  const uint32_t held = there < 0 ? 0 : there < SIDE ? uint32_t(there) : uint32_t(SIDE);
  return _mm512_mask_loadu_ps(_mm512_set1_ps(-1e30f), __mmask16((1u << held) - 1), scores);
}

// A query's scores to probabilities, in bfloat16, but for the factor that is returned; 0 from `length` on.
WITH_TILES inline float to_shares(const float *scores, int64_t length, int64_t padded, float scale,
                                  uint16_t *shares) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < padded; j += SIDE)
    most = _mm512_max_ps(most, scores_from(scores + j, length - j));
  const __m512 factor = _mm512_set1_ps(scale), highest = _mm512_set1_ps(-scale * _mm512_reduce_max_ps(most));
  __m512 sums = _mm512_setzero_ps();
  for (int64_t j = 0; j < padded; j += DEPTH) {
    const __m512 first = scores_from(scores + j, length - j);
    const __m512 second = scores_from(scores + j + SIDE, length - j - SIDE);
    const __m512 one = power_of_two(_mm512_fmadd_ps(first, factor, highest));
    const __m512 other = power_of_two(_mm512_fmadd_ps(second, factor, highest));
    sums = _mm512_add_ps(sums, _mm512_add_ps(one, other));
    _mm512_storeu_si512(shares + j, (__m512i)_mm512_cvtne2ps_pbh(other, one));
  }
  return 1 / _mm512_reduce_add_ps(sums);
}

// A query's scores and what is added to them, `times` as much.
WITH_TILES inline void add(const float *bias, float times, int64_t length, float *scores) {
  const __m512 factor = _mm512_set1_ps(times);
  for (int64_t j = 0; j < length; j += SIDE) {
    const __mmask16 there = __mmask16((1u << std::min(SIDE, length - j)) - 1);
    const __m512 added = _mm512_maskz_loadu_ps(there, bias + j);
    _mm512_storeu_ps(scores + j, _mm512_fmadd_ps(added, factor, _mm512_loadu_ps(scores + j)));
  }
}

// Attention as attention_tiles.hpp has it, for a text whose `joint` is followed by 31 rows of numbers that count
// for nothing: so it is read where it lies. A row of `bias`, where there is one, is `bias_side` numbers long.
WITH_TILES void attend_by_tiles(const uint16_t *joint, int64_t length, int64_t width, int64_t all,
                                const float *bias, int64_t bias_side, uint16_t *context, float *scratch) {
  const int64_t padded = with_tiles::filled_up(length), stride = 3 * all, size = padded * width;
  const float root = std::sqrt(float(width)), scale = 1.44269504f / root;
  const uint16_t *key = joint + all, *value = joint + 2 * all;
  float *scores = scratch, *made = scores + SQUARE * padded;
  uint16_t *keys = reinterpret_cast<uint16_t *>(made + SQUARE * width), *values = keys + size;
  uint16_t *shares = values + size;
  for (int64_t i = 0, at = 0; i < padded; i += SIDE)
    for (int64_t j = 0; j < width; j += DEPTH, at += TILE)
      turn_sixteen(key + i * stride + j, stride / 2, keys + at);
  for (int64_t j = 0, at = 0; j < width; j += SIDE)
    for (int64_t i = 0; i < padded; i += 2, at += DEPTH) {
      const uint16_t *from = value + i * stride + j;
      const __m256i above = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
      const __m256i below = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + stride));
      _mm512_storeu_si512(values + at, with_tiles::paired(above, below));
    }
  for (int64_t first = 0; first < length; first += SQUARE) {
    const int64_t rows = std::min(SQUARE, length - first);
    for (int64_t j = 0; j < padded; j += SQUARE)
      with_tiles::multiply(with_tiles::rows_from(joint + first * stride, stride),
                           with_tiles::columns_from(keys, width / DEPTH, j), width / DEPTH, scores + j,
                           padded, false);
    float factors[SQUARE];
    for (int64_t i = 0; i < rows; ++i) {
      if (bias) add(bias + (first + i) * bias_side, root, length, scores + i * padded);
      factors[i] = to_shares(scores + i * padded, length, padded, scale, shares + i * padded);
    }
    for (int64_t j = 0; j < width; j += SQUARE)
      with_tiles::multiply(with_tiles::rows_from(shares, padded),
                           with_tiles::columns_from(values, padded / DEPTH, j), padded / DEPTH, made + j,
                           width, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < width; j += SIDE)
        with_tiles::put(_mm512_loadu_ps(made + i * width + j), factors[i], context + (first + i) * all + j);
  }
}

WITH_TILES void attend(const Encoder &encoder, const Batch &batch, uint16_t *joint, uint16_t *context,
                       Buffers &buffers) {
  const int64_t all = encoder.width, width = all / encoder.heads;
  const int64_t longest = with_tiles::filled_up(batch.longest);
  float *scratch = room(buffers.scratch, size_t(longest * (width + 3 * SQUARE / 2) + SQUARE * width));
  std::memset(joint + batch.tokens * 3 * all, 0, SQUARE * 3 * all * sizeof *joint);
  for (int64_t text = 0; text < batch.texts; ++text)
    for (int64_t head = 0; head < encoder.heads; ++head) {
      const int64_t start = batch.starts[text], side = encoder.longest;
      attend_by_tiles(joint + start * 3 * all + head * width, batch.lengths[text], width, all,
                      encoder.bias ? encoder.bias + head * side * side : nullptr, side,
                      context + start * all + head * width, scratch);
    }
}
#endif

void attend(const Encoder &encoder, const Batch &batch, const float *joint, float *context,
            Buffers &buffers) {
  const Task task{batch.lengths, batch.starts.data(), batch.texts, encoder.heads,
                  encoder.width / encoder.heads, encoder.bias, encoder.longest, false, joint, context,
                  nullptr, nullptr};
  float *scratch = room(buffers.scratch, size_t(avx512::scratch_floats(batch.longest, task.width)));
  for (int64_t text = 0; text < batch.texts; ++text)
    for (int64_t head = 0; head < encoder.heads; ++head) avx512::forward(task, text, head, scratch);
}

// Number: of what goes to the attention and comes from it.
template <typename Number>
void encode(const Encoder &encoder, const Batch &batch, const int32_t *ids, Multiply multiply, float *out) {
  static thread_local Buffers held;  // kept: the next batch is about as large
  Buffers &buffers = held;
  const int64_t tokens = batch.tokens, width = encoder.width, part = encoder.layers[0].up[0].columns;
  constexpr size_t PARTS = sizeof(Number) / sizeof(uint16_t);
  float *numbers = room(buffers.numbers, size_t(tokens * width));
  float *inner = room(buffers.inner, size_t(ROWS * part));
  Number *joint = reinterpret_cast<Number *>(room(buffers.joint, size_t((tokens + SQUARE) * 3 * width) * PARTS));
  Number *context = reinterpret_cast<Number *>(room(buffers.context, size_t(tokens * width) * PARTS));
  const int64_t filled = tokens + SQUARE;
  float *of_narrow = room(buffers.narrow_rows, size_t(2 * tokens));
  float of_broad[2 * ROWS];
  const Rounded narrow{room(buffers.narrow, size_t(filled * width)), of_narrow, of_narrow + tokens};
  const Rounded broad{room(buffers.broad, size_t(ROWS * part)), of_broad, of_broad + ROWS};
  const auto by_rows = [&](const auto &step) {
    for (int64_t first = 0; first < tokens; first += ROWS)
      step(first, std::min(ROWS, tokens - first), numbers + first * width);
  };
  for (int64_t text = 0; text < batch.texts; ++text)
    look_up(encoder, ids + batch.starts[text], batch.lengths[text], numbers + batch.starts[text] * width);
  normalise(numbers, tokens, width, encoder.norm, encoder.epsilon);
  // One product for all tokens before the next one: its weights stay in the second-level cache.
  for (int64_t place = 0; place < encoder.depth; ++place) {
    const Layer &layer = encoder.layers[place];
    by_rows([&](int64_t first, int64_t rows, float *here) {
      round_rows(here, rows, layer.joint, narrow, first);
      product<PARTS == 1 ? HALVES : FLOATS>(layer.joint, narrow, first, rows, multiply,
                                            joint + first * 3 * width);
    });
    attend(encoder, batch, joint, context, buffers);
    by_rows([&](int64_t first, int64_t rows, float *here) {
      round_rows(context + first * width, rows, layer.out, narrow, first);
      product<ADDED>(layer.out, narrow, first, rows, multiply, here);
      normalise(here, rows, width, layer.after_attention, encoder.epsilon);
      round_rows(here, rows, layer.up[0], narrow, first);
    });
    for (int64_t one = 0; one < layer.parts; ++one)
      by_rows([&](int64_t first, int64_t rows, float *here) {
        product<GELU>(layer.up[one], narrow, first, rows, multiply, inner);
        round_rows(inner, rows, layer.down[one], broad, 0);
        product<ADDED>(layer.down[one], broad, 0, rows, multiply, here);
      });
    normalise(numbers, tokens, width, layer.after_down, encoder.epsilon);
  }
  for (int64_t text = 0; text < batch.texts; ++text)
    pool(numbers + batch.starts[text] * width, encoder.first_alone ? 1 : batch.lengths[text], width,
         out + text * width);
}

bool has_vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

}  // namespace

#endif  // __x86_64__

extern "C" {

// The name of the kernel that is taken for `name` (null: of the best) and heads of a width; null where there is none.
const char *customir_encoder_kernel(const char *name, int64_t width) {
#if defined(__x86_64__)
#ifdef HAS_TILES
  if ((!name || !std::strcmp(name, "tiles")) && width % DEPTH == 0 && has_vnni() && has_int8_tiles())
    return "tiles";
#endif
  if ((!name || !std::strcmp(name, "vnni")) && width % SIDE == 0 && has_vnni()) return "vnni";
#endif
  return nullptr;
}

// `weights`, (depth, columns), as a product takes them: for each 16 columns and 4 of the depth the numbers of
// a column stand together. out: as many.
void customir_encoder_pack(const int8_t *weights, int64_t depth, int64_t columns, int8_t *out) {
  for (int64_t column = 0; column < columns; column += 16)
    for (int64_t k = 0; k < depth; k += 4)
      for (int64_t j = 0; j < 16; ++j)
        for (int64_t i = 0; i < 4; ++i) *out++ = weights[(k + i) * columns + column + j];
}

// The unit vectors of texts, (texts, width). ids: of all texts, one after the other. 0, or -1: no such kernel;
// -2: no memory; -3: an id that is not in the vocabulary, or a text that is empty or too long.
int32_t customir_encode(const Encoder *encoder, const char *name, const int32_t *ids,
                        const int64_t *lengths, int64_t texts, float *out) {
  const char *kernel = customir_encoder_kernel(name, encoder->width / encoder->heads);
  if (!kernel) return -1;
#if defined(__x86_64__)
  try {
    Batch batch{{}, lengths, texts, 0, 0};
    for (int64_t text = 0; text < texts; ++text) {
      if (lengths[text] < 1 || lengths[text] > encoder->longest) return -3;
      batch.starts.push_back(batch.tokens);
      batch.tokens += lengths[text];
      batch.longest = std::max(batch.longest, lengths[text]);
    }
    for (int64_t token = 0; token < batch.tokens; ++token)
      if (ids[token] < 0 || ids[token] >= encoder->vocabulary) return -3;
#ifdef HAS_TILES
    if (!std::strcmp(kernel, "tiles")) {
      const Configured configured;
      encode<uint16_t>(*encoder, batch, ids, multiply_tiles, out);
      return 0;
    }
#endif
    encode<float>(*encoder, batch, ids, multiply_vnni, out);
  } catch (const std::exception &) {
    return -2;
  }
#endif
  return 0;
}

}  // extern "C"
