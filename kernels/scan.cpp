// The best k rows of an int8 or 2-bit matrix by inner product with int8 queries, exactly.
//
// In 2 bits, numbers go from 0 to 3: 32 bytes hold 128 of a row, the first 32 in their lowest two bits,
// the next 32 in the two bits above, and so on. A second matrix of the same form may hold two more bits
// of each number, for a closer look at what the first one chose. For queries in floats, what is found
// is put in the order of its floats.
//
// One file, a C interface, no flags for this machine's processor: each instruction set is a function
// of its own with a target attribute, and the best one that the processor has is taken at run time.
// Inner products of up to 65,536 dimensions fit an int32.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE __attribute__((always_inline)) inline

namespace {

// Inner products of `count` queries with `rows` consecutive rows, each of `width` bytes, a multiple of
// group(form); a query has as many numbers as a row, each a byte. fine: null, or, of a matrix of
// quarters, two more bits of each number: 4 * matrix + fine. out: those of query q from
// out + q * stride on; what lies up to the next multiple of ROW_TILE rows is overwritten.
constexpr int64_t ROW_TILE = 16;
constexpr int TILED = 4;  // queries that share what is read of a row
using Dots = void (*)(const int8_t *matrix, const int8_t *fine, int64_t rows, int64_t width,
                      const int8_t *queries, int64_t count, int32_t *out, int64_t stride);

// How a row's numbers are held: signed bytes, unsigned bytes, or unsigned quarters of bytes.
enum Form { BYTES, UNSIGNED, QUARTERS };
constexpr int numbers(Form form) { return form == QUARTERS ? 4 : 1; }  // in a byte
constexpr int64_t group(Form form) { return form == QUARTERS ? 32 : 64; }  // bytes that belong together

// For kernels that take one row and one query at a time. Rows outside: they come from memory.
template <Form form, int32_t (*dot)(const int8_t *, const int8_t *, int64_t)>
void one_by_one(const int8_t *matrix, const int8_t *fine, int64_t rows, int64_t width,
                const int8_t *queries, int64_t count, int32_t *out, int64_t stride) {
  for (int64_t row = 0; row < rows; ++row, matrix += width, fine += fine ? width : 0)
    for (int64_t query = 0; query < count; ++query) {
      const int8_t *asked = queries + query * numbers(form) * width;
      const int32_t product = dot(matrix, asked, width);
      out[query * stride + row] = fine ? 4 * product + dot(fine, asked, width) : product;
    }
}

int32_t dot_portable(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += int32_t(row[i]) * int32_t(query[i]);
  return sum;
}

int32_t quarters_portable(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t start = 0; start < width; start += 32, query += 128)
    for (int64_t i = 0; i < 128; ++i)
      sum += ((uint8_t(row[start + i % 32]) >> (i / 32 * 2)) & 3) * int32_t(query[i]);
  return sum;
}

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

AVX2 inline int32_t sum_of(__m256i numbers) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

AVX2 int32_t dot_avx2(const int8_t *row, const int8_t *query, int64_t width) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int64_t i = 0; i < width; i += 32) {
    const __m256i m = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query + i));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(m)),
                                                  _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q))));
    high = _mm256_add_epi32(
        high, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(m, 1)),
                                _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1))));
  }
  return sum_of(_mm256_add_epi32(low, high));
}

AVX2 int32_t quarters_avx2(const int8_t *row, const int8_t *query, int64_t width) {
  const __m256i lowest = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < width; i += 32) {
    const __m256i held = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
    __m256i four = _mm256_setzero_si256();  // at most 4 * 2 * 3 * 128, which fits 16 bits
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part, query += 32)
      four = _mm256_add_epi16(
          four, _mm256_maddubs_epi16(
                    _mm256_and_si256(_mm256_srli_epi16(held, 2 * part), lowest),
                    _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query))));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(four, ones));
  }
  return sum_of(sum);
}

// Sums over neighbours: of the results' numbers, twice as many belong to the second argument.
VNNI inline __m512i pairs(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}
VNNI inline __m512i fours(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i low = pairs(a, b), high = pairs(c, d);
  return _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}
VNNI inline __m512i lanes(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}
// Number i of the result: the sum of the 16 numbers in s[i].
VNNI inline __m512i sums_of(const __m512i (&s)[16]) {
  return lanes(lanes(fours(s[0], s[1], s[2], s[3]), fours(s[4], s[5], s[6], s[7])),
               lanes(fours(s[8], s[9], s[10], s[11]), fours(s[12], s[13], s[14], s[15])));
}

// As _mm512_dpbusd_epi32. With the intrinsic, GCC 12 copies every sum to another register and back.
VNNI inline void multiply_add(__m512i &sum, __m512i row, __m512i query) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(row), "v"(query));
}

// The first (0) or second (1) 64 numbers of 32 bytes of quarters, a byte each.
VNNI inline __m512i quarters_of(const int8_t *held, int part) {
  const __m512i twice =
      _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(held)));
  const __m512i places =
      _mm512_inserti64x4(_mm512_set1_epi32(4 * part), _mm256_set1_epi32(4 * part + 2), 1);
  return _mm512_and_si512(_mm512_srlv_epi32(twice, places), _mm512_set1_epi8(3));
}

// A tile of ROWS rows by QUERIES queries: 16 inner products, those of query q from q * ROWS on.
// VPDPBUSD multiplies unsigned by signed bytes: a signed byte with its top bit flipped is that number
// plus 128, so each sum comes out 128 times the query's sum too large, whatever the row.
// AHEAD: the next tile is fetched from memory meanwhile.
template <Form form, int ROWS, int QUERIES, bool AHEAD>
VNNI __attribute__((always_inline)) inline __m512i tile(const int8_t *const *rows,
                                                        const int8_t *queries, int64_t width) {
  static_assert(ROWS * QUERIES == 16, "a register a product");
  __m512i sums[16];
  for (__m512i &sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 64) {
    __m512i asked[QUERIES];
    for (int q = 0; q < QUERIES; ++q) asked[q] = _mm512_loadu_si512(queries + q * width + i);
    // A row at a time: registers are enough for all sums and queries, not for all rows besides.
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      if (AHEAD) _mm_prefetch(rows[r] + i + ROWS * width, _MM_HINT_T0);
      __m512i held = _mm512_loadu_si512(rows[r] + i);
      if (form == BYTES) held = _mm512_xor_si512(held, _mm512_set1_epi8(char(0x80)));
#pragma GCC unroll 16
      for (int q = 0; q < QUERIES; ++q) multiply_add(sums[q * ROWS + r], held, asked[q]);
    }
  }
  return sums_of(sums);
}

// The same for 16 rows of quarters and one query. 32 bytes are there twice: of their pairs of bits, the first
// half of a register keeps the lowest and the third, the second half the others, which are worth four times
// as much there, and so are their sums.
template <>
VNNI __attribute__((always_inline)) inline __m512i tile<QUARTERS, 16, 1, true>(
    const int8_t *const *rows, const int8_t *query, int64_t width) {
  const __m512i kept = _mm512_inserti64x4(_mm512_set1_epi8(3), _mm256_set1_epi8(12), 1);
  __m512i sums[16];
  for (__m512i &sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 32) {
    const __m512i low = _mm512_loadu_si512(query + 4 * i), high = _mm512_loadu_si512(query + 4 * i + 64);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      _mm_prefetch(rows[r] + i + 32 * width, _MM_HINT_T0);  // a tile takes less time than memory
      const __m512i twice = _mm512_broadcast_i64x4(
          _mm256_loadu_si256(reinterpret_cast<const __m256i *>(rows[r] + i)));
      multiply_add(sums[r], _mm512_and_si512(twice, kept), low);
      multiply_add(sums[r], _mm512_and_si512(_mm512_srli_epi16(twice, 4), kept), high);
    }
  }
  const __m512i places = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(2), 1);
#pragma GCC unroll 16
  for (__m512i &sum : sums) sum = _mm512_srav_epi32(sum, places);
  return sums_of(sums);
}

// count: a multiple of QUERIES.
template <Form form, int ROWS, int QUERIES, bool AHEAD>
VNNI void tiles(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                int64_t count, int32_t *out, int64_t stride) {
  const __m512i flip = _mm512_set1_epi8(char(0x80));
  for (int64_t query = 0; query < count; query += QUERIES, queries += QUERIES * numbers(form) * width) {
    alignas(64) int32_t excess[16] = {};
    for (int q = 0; form == BYTES && q < QUERIES; ++q) {
      __m512i sum = _mm512_setzero_si512();
      for (int64_t i = 0; i < width; i += 64)
        multiply_add(sum, flip, _mm512_loadu_si512(queries + q * width + i));
      std::fill_n(excess + q * ROWS, ROWS, _mm512_reduce_add_epi32(sum));
    }
    const __m512i too_much = _mm512_load_si512(excess);
    for (int64_t row = 0; row < rows; row += ROWS) {
      const int8_t *held[ROWS];  // over the edge, the last row once more
      for (int r = 0; r < ROWS; ++r) held[r] = matrix + std::min(row + r, rows - 1) * width;
      alignas(64) int32_t products[16];
      _mm512_store_si512(
          products, _mm512_sub_epi32(tile<form, ROWS, QUERIES, AHEAD>(held, queries, width), too_much));
      for (int q = 0; q < QUERIES; ++q)
        std::memcpy(out + (query + q) * stride + row, products + q * ROWS, ROWS * sizeof(int32_t));
    }
  }
}

template <Form form>
VNNI void dots_vnni(const int8_t *matrix, const int8_t *fine, int64_t rows, int64_t width,
                    const int8_t *queries, int64_t count, int32_t *out, int64_t stride) {
  const int64_t tiled = count / TILED * TILED;
  if (form == QUARTERS && (tiled || fine)) {  // taken apart once for all queries
    const std::unique_ptr<int8_t[]> whole(new int8_t[4 * rows * width]);
    for (int64_t i = 0; i < rows * width; i += 32)
      for (int part = 0; part < 2; ++part) {
        __m512i numbers = quarters_of(matrix + i, part);
        if (fine)
          numbers = _mm512_or_si512(_mm512_slli_epi16(numbers, 2), quarters_of(fine + i, part));
        _mm512_storeu_si512(&whole[4 * i + 64 * part], numbers);
      }
    dots_vnni<UNSIGNED>(whole.get(), nullptr, rows, 4 * width, queries, count, out, stride);
    return;
  }
  if (tiled) tiles<form, 16 / TILED, TILED, false>(matrix, rows, width, queries, tiled, out, stride);
  if (count > tiled)
    tiles<form, 16, 1, true>(matrix, rows, width, queries + tiled * numbers(form) * width,
                             count - tiled, out + tiled * stride, stride);
}

#elif defined(__aarch64__)

int32_t dot_neon(const int8_t *row, const int8_t *query, int64_t width) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int64_t i = 0; i < width; i += 16) {
    const int8x16_t m = vld1q_s8(row + i), q = vld1q_s8(query + i);
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(m), vget_low_s8(q)));
    sum = vpadalq_s16(sum, vmull_high_s8(m, q));
  }
  return vaddvq_s32(sum);
}

int32_t quarters_neon(const int8_t *row, const int8_t *query, int64_t width) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int64_t i = 0; i < width; i += 16) {
    const uint8x16_t held = vreinterpretq_u8_s8(vld1q_s8(row + i));
    for (int part = 0; part < 4; ++part) {
      const int8x16_t q = vld1q_s8(query + i / 32 * 128 + i % 32 + 32 * part);
      const int8x16_t m = vreinterpretq_s8_u8(
          vandq_u8(vshlq_u8(held, vdupq_n_s8(int8_t(-2 * part))), vdupq_n_u8(3)));
      sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(m), vget_low_s8(q)));
      sum = vpadalq_s16(sum, vmull_high_s8(m, q));
    }
  }
  return vaddvq_s32(sum);
}

#endif

constexpr int64_t MOST_ROWS = int64_t(1) << 32;

// The best `k` seen so far, among some that are not. Rows are shown in ascending order, and kept so.
struct Best {
  size_t k = 0, held = 0, room = 0;
  std::unique_ptr<int32_t[]> scores;
  std::unique_ptr<uint32_t[]> rows;
  // What a score has to exceed. Rows come in order, so an equal one never displaces one that is held.
  int32_t least = INT32_MIN;

  void start(int64_t number) {
    k = size_t(number);
    room = 4 * k + 64;  // for more than k: they are sifted together
    scores.reset(new int32_t[room]);
    rows.reset(new uint32_t[room]);
  }
};

INLINE size_t reaching(const Best &best, int32_t score) {
  uint32_t number = 0;  // as wide as a score: the loop becomes vectors
  for (size_t i = 0; i < best.held; ++i) number += best.scores[i] >= score;
  return number;
}

// Drops all but the best k. The k-th score is found by halving the range of scores: counting takes
// vectors, partitioning a branch a score.
INLINE void tidy(Best &best) {
  const size_t k = best.k;
  if (best.held < k || k == 0) return;
  int32_t *scores = best.scores.get();
  uint32_t *rows = best.rows.get();
  int32_t smallest = scores[0], largest = scores[0];
  for (size_t i = 1; i < best.held; ++i) {
    smallest = std::min(smallest, scores[i]);
    largest = std::max(largest, scores[i]);
  }
  int64_t low = smallest, high = largest;
  while (low < high) {
    const int64_t middle = high - (high - low) / 2;
    if (reaching(best, int32_t(middle)) >= k)
      low = middle;
    else
      high = middle - 1;
  }
  const int32_t least = best.least = int32_t(low);
  size_t equal = k - (least == INT32_MAX ? 0 : reaching(best, least + 1)), kept = 0;
  for (size_t i = 0; i < best.held; ++i) {
    const bool same = scores[i] == least && equal > 0, keep = same || scores[i] > least;
    equal -= same;
    scores[kept] = scores[i];
    rows[kept] = rows[i];
    kept += keep;
  }
  best.held = kept;
}

// The same for each width of register.
using Tidy = void (*)(Best &best);

void tidy_portable(Best &best) { tidy(best); }
#if defined(__x86_64__)
AVX2 void tidy_avx2(Best &best) { tidy(best); }
VNNI void tidy_vnni(Best &best) { tidy(best); }
#endif

INLINE void see(Best &best, int32_t score, int64_t row, Tidy tidied) {
  if (best.held == best.room) tidied(best);
  best.scores[best.held] = score;
  best.rows[best.held++] = uint32_t(row);
}

// A block of rows stays in the first-level cache while every query of the batch goes over it. A single query
// reads it once, and has fewer blocks to begin.
constexpr int64_t BLOCK_NUMBERS = 24 * 1024, BLOCK_NUMBERS_OF_ONE = 4 * BLOCK_NUMBERS;
// Scores are looked at one by one only where one of so many is good enough.
constexpr int64_t GLANCE = 16;

// Shows `best` the scores of the rows from `first` on. allowed: of these rows; null: all are.
using Show = void (*)(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                      const uint8_t *allowed);

// ABOVE(scores, least): which of GLANCE scores are above `least`, a bit each. It has to be of the same
// instruction set as the function that this becomes the body of.
#define SHOW(ABOVE, TIDY)                                                                        \
  for (int64_t start = 0; start < rows; start += GLANCE) {                                       \
    const bool whole = start + GLANCE <= rows;                                                   \
    uint32_t mask = whole ? ABOVE(scores + start, best.least) : (1u << (rows - start)) - 1;      \
    for (; mask; mask &= mask - 1) {                                                             \
      const int64_t row = start + __builtin_ctz(mask);                                           \
      if (scores[row] > best.least && (allowed == nullptr || allowed[row]))                      \
        see(best, scores[row], first + row, TIDY);                                               \
    }                                                                                            \
  }

INLINE uint32_t above(const int32_t *scores, int32_t least) {
  uint32_t mask = 0;
  for (int64_t i = 0; i < GLANCE; ++i) mask |= uint32_t(scores[i] > least) << i;
  return mask;
}

void show_portable(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                   const uint8_t *allowed) {
  SHOW(above, tidy_portable)
}

#if defined(__x86_64__)
AVX2 INLINE uint32_t above_avx2(const int32_t *scores, int32_t least) {
  const __m256i limit = _mm256_set1_epi32(least);
  uint32_t mask = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i held = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(scores + 8 * half));
    const __m256i larger = _mm256_cmpgt_epi32(held, limit);
    mask |= uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(larger))) << (8 * half);
  }
  return mask;
}

AVX2 void show_avx2(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                    const uint8_t *allowed) {
  SHOW(above_avx2, tidy_avx2)
}

// All of GLANCE scores that are good enough at once.
VNNI void show_vnni(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                    const uint8_t *allowed) {
  const __m512i places = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (int64_t start = 0; start < rows; start += GLANCE) {
    const auto there = __mmask16(start + GLANCE <= rows ? 0xffff : (1 << (rows - start)) - 1);
    const __m512i found = _mm512_maskz_loadu_epi32(there, scores + start);
    __mmask16 good = _mm512_mask_cmpgt_epi32_mask(there, found, _mm512_set1_epi32(best.least));
    if (good && allowed) {
      const __m512i flags = _mm512_maskz_loadu_epi8(there, allowed + start);
      good &= __mmask16(_mm512_test_epi8_mask(flags, flags));
    }
    if (!good) continue;
    if (best.held + GLANCE > best.room) tidy_vnni(best);
    const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(int32_t(uint32_t(first + start))), places);
    _mm512_storeu_si512(&best.scores[best.held], _mm512_maskz_compress_epi32(good, found));
    _mm512_storeu_si512(&best.rows[best.held], _mm512_maskz_compress_epi32(good, numbers));
    best.held += size_t(__builtin_popcount(good));
  }
}
#endif

constexpr int64_t LANES = 16;  // sums kept side by side, so that a compiler can use vectors

INLINE float product_of(const float *row, const float *query, int64_t dimensions) {
  float sums[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= dimensions; i += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += row[i + lane] * query[i + lane];
  for (; i < dimensions; ++i) sums[0] += row[i] * query[i];
  for (int64_t half = LANES / 2; half; half /= 2)
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

// The vector's 32-bit words times odd 32-bit numbers, added up modulo 2^64: no change of one word
// leaves it as it was.
constexpr uint32_t WEIGHT = 0x9E3779B9u;

INLINE uint64_t checksum_of(const float *row, int64_t dimensions) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < dimensions; ++i) {
    uint32_t word;
    std::memcpy(&word, row + i, sizeof word);
    sum += uint64_t(word) * (uint32_t(2 * i + 1) * WEIGHT);
  }
  return sum;
}

constexpr int64_t NEXT = 4;  // rows from now whose floats are fetched meanwhile: they lie anywhere

// Writes the inner product of the query with the floats of each of `count` rows. False: one of these is
// not what its checksum says.
using Weigh = bool (*)(const float *floats, const uint64_t *checksums, int64_t dimensions,
                       const float *query, const int64_t *rows, int64_t count, float *out);

INLINE bool weigh(const float *floats, const uint64_t *checksums, int64_t dimensions,
                  const float *query, const int64_t *rows, int64_t count, float *out) {
  const auto fetch = [&](int64_t place) __attribute__((always_inline)) {
    for (int64_t i = 0; place < count && i < dimensions; i += LANES)
      __builtin_prefetch(floats + rows[place] * dimensions + i);
  };
  for (int64_t place = 0; checksums && place < count; ++place)
    __builtin_prefetch(checksums + rows[place]);
  for (int64_t place = 0; place < NEXT; ++place) fetch(place);
  for (int64_t place = 0; place < count; ++place) {
    fetch(place + NEXT);
    const float *held = floats + rows[place] * dimensions;
    if (checksums && checksum_of(held, dimensions) != checksums[rows[place]]) return false;
    out[place] = product_of(held, query, dimensions);
  }
  return true;
}

bool weigh_portable(const float *floats, const uint64_t *checksums, int64_t dimensions,
                    const float *query, const int64_t *rows, int64_t count, float *out) {
  return weigh(floats, checksums, dimensions, query, rows, count, out);
}

#if defined(__x86_64__)
// The same in registers of twice and four times the width.
VNNI bool weigh_vnni(const float *floats, const uint64_t *checksums, int64_t dimensions,
                     const float *query, const int64_t *rows, int64_t count, float *out) {
  return weigh(floats, checksums, dimensions, query, rows, count, out);
}
AVX2 bool weigh_avx2(const float *floats, const uint64_t *checksums, int64_t dimensions,
                     const float *query, const int64_t *rows, int64_t count, float *out) {
  return weigh(floats, checksums, dimensions, query, rows, count, out);
}
#endif

struct Kernel {
  const char *name;
  Dots bytes, quarters;
  Tidy tidy;
  Show show;
  Weigh weigh;
  bool (*here)();
};

bool always() { return true; }
#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
bool has_vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

// Best first.
const Kernel KERNELS[] = {
#if defined(__x86_64__)
    {"avx512vnni", dots_vnni<BYTES>, dots_vnni<QUARTERS>, tidy_vnni, show_vnni, weigh_vnni, has_vnni},
    {"avx2", one_by_one<BYTES, dot_avx2>, one_by_one<QUARTERS, quarters_avx2>, tidy_avx2,
     show_avx2, weigh_avx2, has_avx2},
#elif defined(__aarch64__)
    {"neon", one_by_one<BYTES, dot_neon>, one_by_one<QUARTERS, quarters_neon>, tidy_portable,
     show_portable, weigh_portable, always},
#endif
    {"portable", one_by_one<BYTES, dot_portable>, one_by_one<QUARTERS, quarters_portable>,
     tidy_portable, show_portable, weigh_portable, always},
};

const Kernel *find(const char *name) {
  for (const Kernel &kernel : KERNELS)
    if (kernel.here() && (name == nullptr || std::strcmp(name, kernel.name) == 0)) return &kernel;
  return nullptr;
}

enum Status { DONE = 0, NO_KERNEL = -1, BAD_SIZE = -2, NO_MEMORY = -3, DAMAGED = -4 };

// A matrix, with two more bits of each number or none, and which of its rows may be found (null: all).
struct Matrix {
  const int8_t *numbers, *fine;
  int64_t rows, width;
  int32_t bits;
  const uint8_t *allowed;
};

// The best k rows for each of `count` queries, by row. Throws where memory runs out.
Status choose(const Kernel &kernel, const Matrix &matrix, const int8_t *queries, int64_t count,
              int64_t k, int32_t threads, std::vector<Best> &chosen) {
  const auto [numbers, fine, rows, width, bits, allowed] = matrix;
  if (rows < 0 || count < 0 || k < 0 || threads < 1 || (bits != 8 && bits != 2) || width < 1 ||
      width % group(bits == 8 ? BYTES : QUARTERS) || width * 8 / bits > 65536 || rows > MOST_ROWS)
    return BAD_SIZE;
  if (k > (allowed ? rows - std::count(allowed, allowed + rows, 0) : rows)) return BAD_SIZE;
  chosen = std::vector<Best>(size_t(count));
  if (k == 0 || count == 0) return DONE;
  const Dots dots = bits == 8 ? kernel.bytes : kernel.quarters;
  const int64_t most = (count == 1 ? BLOCK_NUMBERS_OF_ONE : BLOCK_NUMBERS) * bits / 8;
  const int64_t block = std::max(most / width / ROW_TILE, int64_t(1)) * ROW_TILE;
  const int64_t blocks = (rows + block - 1) / block;
  const int64_t workers = std::min<int64_t>(threads, blocks);
  std::vector<std::vector<Best>> found(workers);
  std::atomic<bool> failed{false};
  // Each worker takes one run of consecutive blocks: memory is read in order.
  const auto work = [&, numbers = numbers, fine = fine, rows = rows, width = width,
                     allowed = allowed](int64_t worker) {
    try {
      std::vector<Best> best(count);
      for (Best &each : best) each.start(k);
      std::vector<int32_t> scores(count * block);
      const int64_t end = std::min(rows, blocks * (worker + 1) / workers * block);
      for (int64_t start = blocks * worker / workers * block; start < end; start += block) {
        const int64_t here = std::min(block, end - start);
        const uint8_t *few = allowed ? allowed + start : nullptr;
        if (few && std::count(few, few + here, 0) == here) continue;
        dots(numbers + start * width, fine ? fine + start * width : nullptr, here, width, queries, count,
             scores.data(), block);
        for (int64_t query = 0; query < count; ++query)
          kernel.show(best[query], scores.data() + query * block, here, start, few);
      }
      found[worker] = std::move(best);
    } catch (...) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  others.reserve(size_t(workers));
  try {
    for (int64_t started = 1; started < workers; ++started) others.emplace_back(work, started);
  } catch (...) {
    failed = true;
  }
  if (!failed) work(0);
  for (std::thread &other : others) other.join();
  if (failed) return NO_MEMORY;
  for (int64_t query = 0; query < count; ++query) {
    Best &all = chosen[query] = std::move(found[0][query]);
    for (int64_t worker = 1; worker < workers; ++worker)
      for (size_t i = 0; i < found[worker][query].held; ++i)
        see(all, found[worker][query].scores[i], found[worker][query].rows[i], kernel.tidy);
    kernel.tidy(all);
  }
  return DONE;
}

// The best k of `chosen` by two more bits of each number.
Best closer(const Kernel &kernel, const Best &chosen, const int8_t *fine, int64_t width,
            const int8_t *query, int64_t k) {
  const int64_t count = int64_t(chosen.held);
  const std::unique_ptr<int8_t[]> gathered(new int8_t[count * width]);
  const std::unique_ptr<int32_t[]> products(new int32_t[count + ROW_TILE]);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t byte = 0; byte < width; byte += 64)
      __builtin_prefetch(fine + chosen.rows[i] * width + byte);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(&gathered[i * width], fine + chosen.rows[i] * width, size_t(width));
  kernel.quarters(gathered.get(), nullptr, count, width, query, 1, products.get(), count);
  Best best;
  best.start(k);
  for (int64_t i = 0; i < count; ++i)
    see(best, 4 * chosen.scores[i] + products[i], chosen.rows[i], kernel.tidy);
  kernel.tidy(best);
  return best;
}

}  // namespace

extern "C" {

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

// Names the kernel that `name` (null: the best) stands for; null where this processor lacks it.
EXPORT const char *customir_scan_kernel(const char *name) {
  const Kernel *kernel = find(name);
  return kernel ? kernel->name : nullptr;
}

// Writes, for each query, the rows and scores of its best k rows, best first, equal scores by row.
// matrix: rows x width bytes, queries: count x (numbers in a row), out: count x k. bits: of a number in
// the matrix, 8 or 2. allowed: null, or of each row whether
// it may be found. k: at most the number of rows that may.
// Returns 0; -1: no such kernel; -2: a size that is not allowed; -3: no memory or no thread.
EXPORT int customir_top_k(const char *name, const int8_t *matrix, int64_t rows, int64_t width,
                            int32_t bits, const uint8_t *allowed, const int8_t *queries,
                            int64_t count, int64_t k, int32_t threads, int64_t *out_rows,
                            int32_t *out_scores) {
  const Kernel *kernel = find(name);
  if (kernel == nullptr) return NO_KERNEL;
  try {
    std::vector<Best> chosen;
    const Status status =
        choose(*kernel, {matrix, nullptr, rows, width, bits, allowed}, queries, count, k, threads,
               chosen);
    if (status) return status;
    std::vector<std::pair<int32_t, int64_t>> hits(k);
    for (const Best &best : chosen) {
      for (int64_t place = 0; place < k; ++place) hits[place] = {best.scores[place], best.rows[place]};
      std::stable_sort(hits.begin(), hits.end(),
                       [](const auto &a, const auto &b) { return a.first > b.first; });
      for (const auto &[score, row] : hits) *out_rows++ = row, *out_scores++ = score;
    }
  } catch (...) {
    return NO_MEMORY;
  }
  return DONE;
}

// Writes the checksum of each of the rows (rows x dimensions) to `out`.
EXPORT void customir_checksums(const float *floats, int64_t rows, int64_t dimensions,
                               uint64_t *out) {
  for (int64_t row = 0; row < rows; ++row)
    out[row] = checksum_of(floats + row * dimensions, dimensions);
}

// What is searched often. fine: null, or for a matrix of 2 bits two more of each number. steps: null, or
// what a step of the matrix' numbers is worth in each dimension. floats: rows x dimensions. checksums: null,
// or of each row of floats. names: null, or what is written for each row instead of its number.
struct Vectors {
  const int8_t *matrix, *fine;
  int64_t rows, width, bits;
  const float *steps, *floats;
  const uint64_t *checksums;
  int64_t dimensions;
  const int64_t *names;
};

// As customir_top_k for queries in floats, count x dimensions, which are rounded to 8 bits each with a
// scale of its own; what is found is put in the order of its inner products in floats, which are
// written, the largest first, equal ones by row.
// With a fine part, `first` rows, at least k, are chosen by the matrix, and of these k by both; for TILED
// queries and more, which share what is read, k by both at once.
// Returns what customir_top_k does; -4: a row that was found is not what its checksum says.
EXPORT int customir_nearest(const Vectors *vectors, const char *name, const uint8_t *allowed,
                            const float *queries, int64_t count, int64_t first, int64_t k,
                            int32_t threads, int64_t *out_rows, float *out_products) {
  const auto [matrix, fine, rows, width, bits, steps, floats, checksums, dimensions, names] = *vectors;
  const Kernel *kernel = find(name);
  if (kernel == nullptr) return NO_KERNEL;
  try {
    const int64_t numbers = width * 8 / bits;
    std::vector<int8_t> asked(count * numbers);
    std::vector<float> scaled(dimensions);
    for (int64_t query = 0; query < count; ++query) {
      float largest = 0;
      for (int64_t i = 0; i < dimensions; ++i) {
        scaled[i] = queries[query * dimensions + i] * (steps ? steps[i] : 1);
        largest = std::max(largest, std::abs(scaled[i]));
      }
      for (int64_t i = 0; largest > 0 && i < dimensions; ++i)
        asked[query * numbers + i] = int8_t(std::nearbyint(scaled[i] * (127 / largest)));
    }
    std::vector<Best> chosen;
    const bool twice = fine && count < TILED;
    const Status status =
        choose(*kernel, {matrix, twice ? nullptr : fine, rows, width, int32_t(bits), allowed},
               asked.data(), count, twice ? first : k, threads, chosen);
    if (status) return status;
    std::vector<int64_t> places(k);
    std::vector<float> products(k);
    std::vector<std::pair<float, int64_t>> found(k);
    for (int64_t query = 0; query < count; ++query) {
      if (twice)
        chosen[query] = closer(*kernel, chosen[query], fine, width, &asked[query * numbers], k);
      std::copy_n(chosen[query].rows.get(), k, places.begin());
      if (!kernel->weigh(floats, checksums, dimensions, queries + query * dimensions, places.data(), k,
                        products.data()))
        return DAMAGED;
      for (int64_t place = 0; place < k; ++place) found[place] = {products[place], places[place]};
      std::sort(found.begin(), found.end(), [](const auto &a, const auto &b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
      });
      for (const auto &[product, row] : found)
        *out_products++ = product, *out_rows++ = names ? names[row] : row;
    }
  } catch (...) {
    return NO_MEMORY;
  }
  return DONE;
}

}  // extern "C"
