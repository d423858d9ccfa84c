// The best k rows of an int8 or 4-bit matrix by inner product with int8 queries, exactly.
//
// In 4 bits, numbers go from 0 to 15: 64 bytes hold 128 of a row, the first 64 in their low halves,
// the others in their high halves. For queries in floats, what is found is put in the order of its
// floats.
//
// One file, a C interface, no flags for this machine's processor: each instruction set is a function
// of its own with a target attribute, and the best one that the processor has is taken at run time.
// Inner products of up to 65,536 dimensions fit an int32.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// Inner products of `count` queries with `rows` consecutive rows, each of `width` bytes, a multiple of
// 64; a query has as many numbers as a row, each a byte. out: those of query q from out + q * stride on; what lies up to the next multiple of ROW_TILE
// rows is overwritten.
constexpr int64_t ROW_TILE = 16;
using Dots = void (*)(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                      int64_t count, int32_t *out, int64_t stride);

// How a row's numbers are held: signed bytes, unsigned bytes, or unsigned halves of bytes.
enum Form { BYTES, UNSIGNED, HALVES };
constexpr int parts(Form form) { return form == HALVES ? 2 : 1; }  // numbers in a byte

// For kernels that take one row and one query at a time. Rows outside: they come from memory.
template <Form form, int32_t (*dot)(const int8_t *, const int8_t *, int64_t)>
void one_by_one(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                int64_t count, int32_t *out, int64_t stride) {
  for (int64_t row = 0; row < rows; ++row, matrix += width)
    for (int64_t query = 0; query < count; ++query)
      out[query * stride + row] = dot(matrix, queries + query * parts(form) * width, width);
}

int32_t dot_portable(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += int32_t(row[i]) * int32_t(query[i]);
  return sum;
}

int32_t halves_portable(const int8_t *row, const int8_t *query, int64_t width) {
  int32_t sum = 0;
  for (int64_t group = 0; group < width; group += 64, query += 128)
    for (int64_t i = 0; i < 64; ++i) {
      const uint8_t both = uint8_t(row[group + i]);
      sum += (both & 15) * int32_t(query[i]) + (both >> 4) * int32_t(query[64 + i]);
    }
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

AVX2 int32_t halves_avx2(const int8_t *row, const int8_t *query, int64_t width) {
  const __m256i low_half = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < width; i += 32) {
    const int8_t *asked = query + i / 64 * 128 + i % 64;
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i));
    const __m256i low = _mm256_maddubs_epi16(
        _mm256_and_si256(both, low_half),
        _mm256_loadu_si256(reinterpret_cast<const __m256i *>(asked)));
    const __m256i high = _mm256_maddubs_epi16(
        _mm256_and_si256(_mm256_srli_epi16(both, 4), low_half),
        _mm256_loadu_si256(reinterpret_cast<const __m256i *>(asked + 64)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(low, high), ones));
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

// The low (0) or high (1) half of each byte.
VNNI inline __m512i half_of(__m512i both, int part) {
  return _mm512_and_si512(_mm512_srli_epi16(both, 4 * part), _mm512_set1_epi8(15));
}

// A tile of ROWS rows by QUERIES queries: 16 inner products, those of query q from q * ROWS on.
// VPDPBUSD multiplies unsigned by signed bytes: a signed byte with its top bit flipped is that number
// plus 128, so each sum comes out 128 times the query's sum too large, whatever the row.
// AHEAD: the next tile is fetched from memory meanwhile.
template <Form form, int ROWS, int QUERIES, bool AHEAD>
VNNI __attribute__((always_inline)) inline __m512i tile(const int8_t *const *rows,
                                                        const int8_t *queries, int64_t width) {
  static_assert(ROWS * QUERIES == 16, "a register a product");
  const __m512i flip = _mm512_set1_epi8(char(0x80));
  __m512i sums[16];
  for (__m512i &sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 64) {
    __m512i asked[QUERIES][parts(form)];
    for (int q = 0; q < QUERIES; ++q)
      for (int part = 0; part < parts(form); ++part)
        asked[q][part] = _mm512_loadu_si512(queries + parts(form) * (q * width + i) + 64 * part);
    // A row at a time: registers are enough for all sums and queries, not for all rows besides.
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const __m512i held = _mm512_loadu_si512(rows[r] + i);
      if (AHEAD) _mm_prefetch(rows[r] + i + ROWS * width, _MM_HINT_T0);
#pragma GCC unroll 2
      for (int part = 0; part < parts(form); ++part) {
        const __m512i numbers = form == BYTES      ? _mm512_xor_si512(held, flip)
                                : form == UNSIGNED ? held
                                                   : half_of(held, part);
#pragma GCC unroll 16
        for (int q = 0; q < QUERIES; ++q) multiply_add(sums[q * ROWS + r], numbers, asked[q][part]);
      }
    }
  }
  return sums_of(sums);
}

// count: a multiple of QUERIES.
template <Form form, int ROWS, int QUERIES, bool AHEAD>
VNNI void tiles(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                int64_t count, int32_t *out, int64_t stride) {
  const __m512i flip = _mm512_set1_epi8(char(0x80));
  for (int64_t query = 0; query < count; query += QUERIES, queries += QUERIES * parts(form) * width) {
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
VNNI void dots_vnni(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *queries,
                    int64_t count, int32_t *out, int64_t stride) {
  const int64_t tiled = count / 4 * 4;
  if constexpr (form == HALVES) {
    if (tiled) {  // taken apart once for all queries
      const std::unique_ptr<int8_t[]> whole(new int8_t[2 * rows * width]);
      for (int64_t i = 0; i < rows * width; i += 64)
        for (int part = 0; part < 2; ++part)
          _mm512_storeu_si512(&whole[2 * i + 64 * part],
                              half_of(_mm512_loadu_si512(matrix + i), part));
      tiles<UNSIGNED, 4, 4, false>(whole.get(), rows, 2 * width, queries, tiled, out, stride);
    }
  } else if (tiled) {
    tiles<form, 4, 4, false>(matrix, rows, width, queries, tiled, out, stride);
  }
  if (count > tiled)
    tiles<form, 16, 1, true>(matrix, rows, width, queries + tiled * parts(form) * width, count - tiled,
                             out + tiled * stride, stride);
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

int32_t halves_neon(const int8_t *row, const int8_t *query, int64_t width) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int64_t i = 0; i < width; i += 16) {
    const int8_t *asked = query + i / 64 * 128 + i % 64;
    const uint8x16_t both = vreinterpretq_u8_s8(vld1q_s8(row + i));
    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
    const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    const int8x16_t q = vld1q_s8(asked), p = vld1q_s8(asked + 64);
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(low), vget_low_s8(q)));
    sum = vpadalq_s16(sum, vmull_high_s8(low, q));
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(high), vget_low_s8(p)));
    sum = vpadalq_s16(sum, vmull_high_s8(high, p));
  }
  return vaddvq_s32(sum);
}

#endif

#define INLINE __attribute__((always_inline)) inline

// A row and its score in one number: the larger the better, of equal scores the earlier row.
using Hit = uint64_t;
constexpr int64_t MOST_ROWS = int64_t(1) << 32;

Hit hit(int32_t score, int64_t row) {
  return uint64_t(uint32_t(score) ^ 0x80000000u) << 32 | uint32_t(~row);
}
int32_t score_of(Hit hit) { return int32_t(uint32_t(hit >> 32) ^ 0x80000000u); }
int64_t row_of(Hit hit) { return int64_t(uint32_t(~hit)); }

// The best `k` seen so far, among some that are not. Room for more saves the work of a heap.
struct Best {
  size_t k = 0;
  std::vector<Hit> held;
  // What a score has to exceed. Rows come in order, so an equal one never displaces one that is held.
  int32_t least = INT32_MIN;

  void start(int64_t number) {
    k = size_t(number);
    held.reserve(4 * k + 16);
  }

  void see(int32_t score, int64_t row) {
    if (held.size() == held.capacity()) tidy();
    held.push_back(hit(score, row));
  }

  // Drops all but the best k.
  void tidy() {
    if (held.size() < k) return;
    std::nth_element(held.begin(), held.begin() + (k - 1), held.end(), std::greater<Hit>());
    held.resize(k);
    least = score_of(held.back());
  }
};

// A block of rows stays in the first-level cache while every query of the batch goes over it.
constexpr int64_t BLOCK_NUMBERS = 24 * 1024;
// Scores are looked at one by one only where one of so many is good enough.
constexpr int64_t GLANCE = 16;

// Shows `best` the scores of the rows from `first` on. allowed: of these rows; null: all are.
using Show = void (*)(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                      const uint8_t *allowed);

// ABOVE(scores, least): which of GLANCE scores are above `least`, a bit each. It has to be of the same
// instruction set as the function that this becomes the body of.
#define SHOW(ABOVE)                                                                              \
  for (int64_t start = 0; start < rows; start += GLANCE) {                                       \
    const bool whole = start + GLANCE <= rows;                                                   \
    uint32_t mask = whole ? ABOVE(scores + start, best.least) : (1u << (rows - start)) - 1;      \
    for (; mask; mask &= mask - 1) {                                                             \
      const int64_t row = start + __builtin_ctz(mask);                                           \
      if (scores[row] > best.least && (allowed == nullptr || allowed[row]))                      \
        best.see(scores[row], first + row);                                                      \
    }                                                                                            \
  }

INLINE uint32_t above(const int32_t *scores, int32_t least) {
  uint32_t mask = 0;
  for (int64_t i = 0; i < GLANCE; ++i) mask |= uint32_t(scores[i] > least) << i;
  return mask;
}

void show_portable(Best &best, const int32_t *scores, int64_t rows, int64_t first,
                   const uint8_t *allowed) {
  SHOW(above)
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
  SHOW(above_avx2)
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

constexpr int64_t NEXT = 2;  // rows from now whose floats are fetched meanwhile: they lie anywhere

// Writes the inner product of the query with the floats of each of `count` rows. False: one of these is
// not what its checksum says.
using Weigh = bool (*)(const float *floats, const uint64_t *checksums, int64_t dimensions,
                       const float *query, const int64_t *rows, int64_t count, float *out);

INLINE bool weigh(const float *floats, const uint64_t *checksums, int64_t dimensions,
                  const float *query, const int64_t *rows, int64_t count, float *out) {
  for (int64_t place = 0; place < count; ++place) {
    if (place + NEXT < count)
      for (int64_t i = 0; i < dimensions; i += LANES)
        __builtin_prefetch(floats + rows[place + NEXT] * dimensions + i);
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
// The same in registers of twice the width.
AVX2 bool weigh_avx2(const float *floats, const uint64_t *checksums, int64_t dimensions,
                     const float *query, const int64_t *rows, int64_t count, float *out) {
  return weigh(floats, checksums, dimensions, query, rows, count, out);
}
#endif

struct Kernel {
  const char *name;
  Dots bytes, halves;
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
    {"avx512vnni", dots_vnni<BYTES>, dots_vnni<HALVES>, show_avx2, weigh_avx2, has_vnni},
    {"avx2", one_by_one<BYTES, dot_avx2>, one_by_one<HALVES, halves_avx2>, show_avx2,
     weigh_avx2, has_avx2},
#elif defined(__aarch64__)
    {"neon", one_by_one<BYTES, dot_neon>, one_by_one<HALVES, halves_neon>, show_portable,
     weigh_portable, always},
#endif
    {"portable", one_by_one<BYTES, dot_portable>, one_by_one<HALVES, halves_portable>, show_portable,
     weigh_portable, always},
};

const Kernel *find(const char *name) {
  for (const Kernel &kernel : KERNELS)
    if (kernel.here() && (name == nullptr || std::strcmp(name, kernel.name) == 0)) return &kernel;
  return nullptr;
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
// the matrix, 8 or 4. allowed: null, or of each row whether
// it may be found. k: at most the number of rows that may.
// Returns 0; -1: no such kernel; -2: a size that is not allowed; -3: no memory or no thread.
EXPORT int customir_top_k(const char *name, const int8_t *matrix, int64_t rows, int64_t width,
                            int32_t bits, const uint8_t *allowed, const int8_t *queries,
                            int64_t count, int64_t k, int32_t threads, int64_t *out_rows,
                            int32_t *out_scores) {
  const Kernel *kernel = find(name);
  if (kernel == nullptr) return -1;
  if (rows < 0 || count < 0 || k < 0 || threads < 1 || width < 64 || width % 64 ||
      (bits != 8 && bits != 4) || width * 8 / bits > 65536 || rows > MOST_ROWS)
    return -2;
  if (k > (allowed ? rows - std::count(allowed, allowed + rows, 0) : rows)) return -2;
  if (k == 0 || count == 0) return 0;
  const Dots dots = bits == 8 ? kernel->bytes : kernel->halves;
  try {
    const int64_t block = std::max(BLOCK_NUMBERS * bits / 8 / width / ROW_TILE, int64_t(1)) * ROW_TILE;
    const int64_t blocks = (rows + block - 1) / block;
    const int64_t workers = std::min<int64_t>(threads, blocks);
    std::vector<std::vector<Best>> found(workers);
    std::atomic<bool> failed{false};
    // Each worker takes one run of consecutive blocks: memory is read in order.
    const auto work = [&](int64_t worker) {
      try {
        std::vector<Best> best(count);
        for (Best &each : best) each.start(k);
        std::vector<int32_t> scores(count * block);
        const int64_t end = std::min(rows, blocks * (worker + 1) / workers * block);
        for (int64_t start = blocks * worker / workers * block; start < end; start += block) {
          const int64_t here = std::min(block, end - start);
          const uint8_t *few = allowed ? allowed + start : nullptr;
          if (few && std::count(few, few + here, 0) == here) continue;
          dots(matrix + start * width, here, width, queries, count, scores.data(), block);
          for (int64_t query = 0; query < count; ++query)
            kernel->show(best[query], scores.data() + query * block, here, start, few);
        }
        found[worker] = std::move(best);
      } catch (...) {
        failed = true;
      }
    };
    std::vector<std::thread> others;
    others.reserve(size_t(workers));
    int64_t started = 1;
    try {
      for (; started < workers; ++started) others.emplace_back(work, started);
    } catch (...) {
      failed = true;
    }
    if (!failed) work(0);
    for (std::thread &other : others) other.join();
    if (failed) return -3;
    std::vector<Hit> merged;
    for (int64_t query = 0; query < count; ++query) {
      merged.clear();
      for (auto &each : found)
        merged.insert(merged.end(), each[query].held.begin(), each[query].held.end());
      std::partial_sort(merged.begin(), merged.begin() + k, merged.end(), std::greater<Hit>());
      for (int64_t place = 0; place < k; ++place) {
        out_rows[query * k + place] = row_of(merged[place]);
        out_scores[query * k + place] = score_of(merged[place]);
      }
    }
  } catch (...) {
    return -3;
  }
  return 0;
}

// Writes the checksum of each of the rows (rows x dimensions) to `out`.
EXPORT void customir_checksums(const float *floats, int64_t rows, int64_t dimensions,
                               uint64_t *out) {
  for (int64_t row = 0; row < rows; ++row)
    out[row] = checksum_of(floats + row * dimensions, dimensions);
}

// As customir_top_k for queries in floats, count x dimensions, which are rounded to 8 bits each with a
// scale of its own; what is found is put in the order of its inner products in floats, which are
// written, the largest first, equal ones as they were.
// steps: null, or what a step of the matrix' numbers is worth in each dimension. floats: rows x
// dimensions. checksums: null, or of each row of floats.
// Returns what customir_top_k does; -4: a row that was found is not what its checksum says.
EXPORT int customir_nearest(const int8_t *matrix, int64_t rows, int64_t width, int32_t bits,
                            const uint8_t *allowed, const float *steps, const float *floats,
                            const uint64_t *checksums, int64_t dimensions, const float *queries,
                            int64_t count, int64_t k, int32_t threads, int64_t *out_rows,
                            float *out_products) {
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
    std::vector<int32_t> scores(count * k);
    const int status = customir_top_k(nullptr, matrix, rows, width, bits, allowed, asked.data(),
                                      count, k, threads, out_rows, scores.data());
    if (status) return status;
    const Weigh weigh_rows = find(nullptr)->weigh;
    std::vector<std::pair<float, int64_t>> found(k);
    for (int64_t query = 0; query < count; ++query, out_rows += k, out_products += k) {
      if (!weigh_rows(floats, checksums, dimensions, queries + query * dimensions, out_rows, k,
                      out_products))
        return -4;
      for (int64_t place = 0; place < k; ++place)
        found[place] = {out_products[place], out_rows[place]};
      std::stable_sort(found.begin(), found.end(),
                       [](const auto &a, const auto &b) { return a.first > b.first; });
      for (int64_t place = 0; place < k; ++place)
        std::tie(out_products[place], out_rows[place]) = found[place];
    }
  } catch (...) {
    return -3;
  }
  return 0;
}

}  // extern "C"
