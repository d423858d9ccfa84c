// The best k rows of an int8 matrix by inner product with int8 queries, exactly.
//
// One file, a C interface, no flags for this machine's processor: each instruction set is a function
// of its own with a target attribute, and the best one that the processor has is taken at run time.
// Inner products of up to 65,536 dimensions fit an int32.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// Inner products of one query with `rows` consecutive rows of `width` bytes, a multiple of 64.
using Dot = void (*)(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *query,
                     int32_t *out);

void dot_portable(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *query,
                  int32_t *out) {
  for (int64_t row = 0; row < rows; ++row, matrix += width) {
    int32_t sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += int32_t(matrix[i]) * int32_t(query[i]);
    out[row] = sum;
  }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) void dot_avx2(const int8_t *matrix, int64_t rows, int64_t width,
                                              const int8_t *query, int32_t *out) {
  for (int64_t row = 0; row < rows; ++row, matrix += width) {
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int64_t i = 0; i < width; i += 32) {
      const __m256i m = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(matrix + i));
      const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query + i));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(m)),
                                                    _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q))));
      high = _mm256_add_epi32(
          high, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(m, 1)),
                                  _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1))));
    }
    const __m256i both = _mm256_add_epi32(low, high);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    out[row] = _mm_cvtsi128_si32(sum);
  }
}

// VPDPBUSD multiplies unsigned by signed bytes. A row's byte with its top bit flipped is that number
// plus 128, so each sum comes out 128 times the query's sum too large, whatever the row.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void dot_vnni(
    const int8_t *matrix, int64_t rows, int64_t width, const int8_t *query, int32_t *out) {
  const __m512i flip = _mm512_set1_epi8(char(0x80));
  __m512i sums = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 64)
    sums = _mm512_dpbusd_epi32(sums, flip, _mm512_loadu_si512(query + i));
  const int32_t excess = _mm512_reduce_add_epi32(sums);
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4, matrix += 4 * width) {
    __m512i sum[4];
    for (int r = 0; r < 4; ++r) sum[r] = _mm512_setzero_si512();
    for (int64_t i = 0; i < width; i += 64) {
      const __m512i q = _mm512_loadu_si512(query + i);
      for (int r = 0; r < 4; ++r) {
        const __m512i m = _mm512_loadu_si512(matrix + r * width + i);
        sum[r] = _mm512_dpbusd_epi32(sum[r], _mm512_xor_si512(m, flip), q);
      }
    }
    // The four sums of 16 numbers each, together.
    __m128i part[4];
    for (int r = 0; r < 4; ++r) {
      const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum[r]),
                                            _mm512_extracti64x4_epi64(sum[r], 1));
      part[r] = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    }
    const __m128i sums4 = _mm_hadd_epi32(_mm_hadd_epi32(part[0], part[1]),
                                         _mm_hadd_epi32(part[2], part[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out + row),
                     _mm_sub_epi32(sums4, _mm_set1_epi32(excess)));
  }
  for (; row < rows; ++row, matrix += width) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t i = 0; i < width; i += 64) {
      const __m512i m = _mm512_loadu_si512(matrix + i);
      sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(m, flip), _mm512_loadu_si512(query + i));
    }
    out[row] = _mm512_reduce_add_epi32(sum) - excess;
  }
}

#elif defined(__aarch64__)

void dot_neon(const int8_t *matrix, int64_t rows, int64_t width, const int8_t *query,
              int32_t *out) {
  for (int64_t row = 0; row < rows; ++row, matrix += width) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int64_t i = 0; i < width; i += 16) {
      const int8x16_t m = vld1q_s8(matrix + i), q = vld1q_s8(query + i);
      sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(m), vget_low_s8(q)));
      sum = vpadalq_s16(sum, vmull_high_s8(m, q));
    }
    out[row] = vaddvq_s32(sum);
  }
}

#endif

struct Kernel {
  const char *name;
  Dot dot;
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
    {"avx512vnni", dot_vnni, has_vnni},
    {"avx2", dot_avx2, has_avx2},
#elif defined(__aarch64__)
    {"neon", dot_neon, always},
#endif
    {"portable", dot_portable, always},
};

const Kernel *find(const char *name) {
  for (const Kernel &kernel : KERNELS)
    if (kernel.here() && (name == nullptr || std::strcmp(name, kernel.name) == 0)) return &kernel;
  return nullptr;
}

struct Hit {
  int32_t score;
  int64_t row;
};

// The better of two: the larger score, of equals the earlier row.
bool better(const Hit &left, const Hit &right) {
  return left.score != right.score ? left.score > right.score : left.row < right.row;
}

// The best `k` seen so far, the worst of them at the front.
struct Best {
  size_t k;
  std::vector<Hit> heap;

  void see(int32_t score, int64_t row) {
    const Hit hit{score, row};
    if (heap.size() < k) {
      heap.push_back(hit);
      std::push_heap(heap.begin(), heap.end(), better);
    } else if (better(hit, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.back() = hit;
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
};

// A block of rows stays in the first-level cache while every query of the batch goes over it.
constexpr int64_t BLOCK_BYTES = 24 * 1024;

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

// Writes, for each query, the rows and scores of its best min(k, rows) rows, best first, equal
// scores by row. matrix: rows x width, queries: count x width, out: count x min(k, rows).
// Returns 0; -1: no such kernel; -2: a size that is not allowed; -3: no memory or no thread.
EXPORT int customir_scan(const char *name, const int8_t *matrix, int64_t rows, int64_t width,
                         const int8_t *queries, int64_t count, int64_t k, int32_t threads,
                         int64_t *out_rows, int32_t *out_scores) {
  const Kernel *kernel = find(name);
  if (kernel == nullptr) return -1;
  if (rows < 0 || count < 0 || k < 1 || threads < 1 || width < 64 || width % 64 || width > 65536)
    return -2;
  k = std::min(k, rows);
  if (k == 0 || count == 0) return 0;
  try {
    const int64_t block = std::max<int64_t>(BLOCK_BYTES / width, 8);
    const int64_t blocks = (rows + block - 1) / block;
    const int64_t workers = std::min<int64_t>(threads, blocks);
    std::vector<std::vector<Best>> found(workers);
    std::atomic<bool> failed{false};
    // Each worker takes one run of consecutive blocks: memory is read in order.
    const auto work = [&](int64_t worker) {
      try {
        std::vector<Best> best(count);
        for (Best &each : best) {
          each.k = size_t(k);
          each.heap.reserve(size_t(k));
        }
        std::vector<int32_t> scores(block);
        const int64_t end = std::min(rows, blocks * (worker + 1) / workers * block);
        for (int64_t start = blocks * worker / workers * block; start < end; start += block) {
          const int64_t here = std::min(block, end - start);
          for (int64_t query = 0; query < count; ++query) {
            kernel->dot(matrix + start * width, here, width, queries + query * width,
                        scores.data());
            Best &each = best[query];
            int32_t least =
                each.heap.size() < each.k ? INT32_MIN : each.heap.front().score;
            for (int64_t row = 0; row < here; ++row) {
              // Rows come in order, so an equal score never displaces one that is held.
              if (scores[row] > least || each.heap.size() < each.k) {
                each.see(scores[row], start + row);
                if (each.heap.size() == each.k) least = each.heap.front().score;
              }
            }
          }
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
      for (const auto &each : found)
        merged.insert(merged.end(), each[query].heap.begin(), each[query].heap.end());
      std::partial_sort(merged.begin(), merged.begin() + k, merged.end(), better);
      for (int64_t place = 0; place < k; ++place) {
        out_rows[query * k + place] = merged[place].row;
        out_scores[query * k + place] = merged[place].score;
      }
    }
  } catch (...) {
    return -3;
  }
  return 0;
}

}  // extern "C"
