// The rows of a matrix with the largest inner products with each query: the C interface, the threads, and the choice
// of an implementation. README.md has the formula.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "../abi.hpp"
#include "../capabilities.hpp"
#include "portable.hpp"
#include "scan.hpp"
#if defined(__x86_64__)
#include "avx2.hpp"
#include "avx512_vnni.hpp"
#elif defined(__aarch64__)
#include "neon.hpp"
#endif

namespace {

struct Kernel {
  const char *name;
  InnerProducts inner_products_8bit, inner_products_2bit;
  Prune prune;
  Offer offer;
  Rescore rescore;
  bool (*is_supported)();
};

const Kernel KERNELS[] = {
#if defined(__x86_64__)
    {"avx512_vnni", avx512_vnni::inner_products<EIGHT_BITS>, avx512_vnni::inner_products<TWO_BITS>,
     avx512_vnni::prune, avx512_vnni::offer, avx512_vnni::rescore, has_avx512_vnni},
    {"avx2", one_at_a_time<EIGHT_BITS, avx2::dot_8bit>, one_at_a_time<TWO_BITS, avx2::dot_2bit>, avx2::prune,
     avx2::offer, avx2::rescore, has_avx2},
#elif defined(__aarch64__)
    {"neon", one_at_a_time<EIGHT_BITS, neon::dot_8bit>, one_at_a_time<TWO_BITS, neon::dot_2bit>, neon::prune,
     neon::offer, neon::rescore, always},
#endif
    {"portable", one_at_a_time<EIGHT_BITS, portable::dot_8bit>, one_at_a_time<TWO_BITS, portable::dot_2bit>,
     portable::prune, portable::offer, portable::rescore, always},
};

// Numbers of a block of rows, which stays in the first-level cache while every query of a batch is multiplied with it.
// A single query reads a block once; its blocks are larger, so that fewer have to be begun.
constexpr int64_t BLOCK_NUMBERS = 24 * 1024, BLOCK_NUMBERS_OF_ONE = 4 * BLOCK_NUMBERS;

enum Status { OK = 0, NO_KERNEL = -1, BAD_SIZE = -2, NO_MEMORY = -3, DAMAGED = -4 };

// A matrix, the residuals of its codes (or null), and for each row whether it may be found (null: all may).
struct Matrix {
  const int8_t *numbers, *residuals;
  int64_t rows, width;
  int32_t bits;
  const uint8_t *allowed;
};

// The best k rows for each of `count` queries, in ascending order of rows. Throws where memory runs out.
Status find_best(const Kernel &kernel, const Matrix &matrix, const int8_t *queries, int64_t count,
              int64_t k, int32_t threads, std::vector<Candidates> &chosen) {
  const auto [numbers, residuals, rows, width, bits, allowed] = matrix;
  if (rows < 0 || count < 0 || k < 0 || threads < 1 || (bits != 8 && bits != 2) || width < 1 ||
      width % group(bits == 8 ? EIGHT_BITS : TWO_BITS) || width * 8 / bits > 65536 || rows > MAX_ROWS)
    return BAD_SIZE;
  if (k > (allowed ? rows - std::count(allowed, allowed + rows, 0) : rows)) return BAD_SIZE;
  chosen = std::vector<Candidates>(size_t(count));
  if (k == 0 || count == 0) return OK;
  const InnerProducts inner_products = bits == 8 ? kernel.inner_products_8bit : kernel.inner_products_2bit;
  const int64_t most = (count == 1 ? BLOCK_NUMBERS_OF_ONE : BLOCK_NUMBERS) * bits / 8;
  const int64_t block = std::max(most / width / ROWS_PER_TILE, int64_t(1)) * ROWS_PER_TILE;
  const int64_t blocks = (rows + block - 1) / block;
  const int64_t workers = std::min<int64_t>(threads, blocks);
  std::vector<std::vector<Candidates>> found(workers);
  std::atomic<bool> failed{false};
  // Each worker scans one run of consecutive blocks, so that memory is read in order.
  const auto work = [&, numbers = numbers, residuals = residuals, rows = rows, width = width,
                     allowed = allowed](int64_t worker) {
    try {
      std::vector<Candidates> best(count);
      for (Candidates &each : best) each.reset(k);
      std::vector<int32_t> scores(count * block);
      const int64_t end = std::min(rows, blocks * (worker + 1) / workers * block);
      for (int64_t start = blocks * worker / workers * block; start < end; start += block) {
        const int64_t here = std::min(block, end - start);
        const uint8_t *few = allowed ? allowed + start : nullptr;
        if (few && std::count(few, few + here, 0) == here) continue;
        inner_products(numbers + start * width, residuals ? residuals + start * width : nullptr, here, width, queries, count,
             scores.data(), block);
        for (int64_t query = 0; query < count; ++query)
          kernel.offer(best[query], scores.data() + query * block, here, start, few);
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
    Candidates &all = chosen[query] = std::move(found[0][query]);
    for (int64_t worker = 1; worker < workers; ++worker)
      for (size_t i = 0; i < found[worker][query].held; ++i)
        push(all, found[worker][query].scores[i], found[worker][query].rows[i], kernel.prune);
    kernel.prune(all);
  }
  return OK;
}

// The best k of `chosen` by codes and residuals together.
Candidates refine(const Kernel &kernel, const Candidates &chosen, const int8_t *residuals, int64_t width,
            const int8_t *query, int64_t k) {
  const int64_t count = int64_t(chosen.held);
  const std::unique_ptr<int8_t[]> gathered(new int8_t[count * width]);
  const std::unique_ptr<int32_t[]> products(new int32_t[count + ROWS_PER_TILE]);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t byte = 0; byte < width; byte += 64)
      __builtin_prefetch(residuals + chosen.rows[i] * width + byte);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(&gathered[i * width], residuals + chosen.rows[i] * width, size_t(width));
  kernel.inner_products_2bit(gathered.get(), nullptr, count, width, query, 1, products.get(), count);
  Candidates best;
  best.reset(k);
  for (int64_t i = 0; i < count; ++i)
    push(best, 4 * chosen.scores[i] + products[i], chosen.rows[i], kernel.prune);
  kernel.prune(best);
  return best;
}

}  // namespace

// The kernel called `name` (null: the fastest one); null where this processor cannot run it.
EXPORT const char *customir_scan_kernel(const char *name) {
  const Kernel *kernel = select_kernel(KERNELS, name);
  return kernel ? kernel->name : nullptr;
}

// Writes the numbers and scores of the best k rows for each query, best first, equal scores by row number.
// matrix: (rows, width) bytes. queries: (count, numbers in a row). Both outputs: (count, k). bits: 8 or 2, of a number
// of the matrix. allowed: null, or for each row whether it may be found. k: at most the number of rows that may.
// Returns a Status.
EXPORT int32_t customir_top_k(const char *name, const int8_t *matrix, int64_t rows, int64_t width,
                            int32_t bits, const uint8_t *allowed, const int8_t *queries,
                            int64_t count, int64_t k, int32_t threads, int64_t *out_rows,
                            int32_t *out_scores) {
  const Kernel *kernel = select_kernel(KERNELS, name);
  if (kernel == nullptr) return NO_KERNEL;
  try {
    std::vector<Candidates> chosen;
    const Status status =
        find_best(*kernel, {matrix, nullptr, rows, width, bits, allowed}, queries, count, k, threads,
               chosen);
    if (status) return status;
    std::vector<std::pair<int32_t, int64_t>> hits(k);
    for (const Candidates &best : chosen) {
      for (int64_t place = 0; place < k; ++place) hits[place] = {best.scores[place], best.rows[place]};
      std::stable_sort(hits.begin(), hits.end(),
                       [](const auto &a, const auto &b) { return a.first > b.first; });
      for (const auto &[score, row] : hits) *out_rows++ = row, *out_scores++ = score;
    }
  } catch (...) {
    return NO_MEMORY;
  }
  return OK;
}

// Writes the checksum of each row of `floats`, (rows, dimensions), to `out`.
EXPORT void customir_checksums(const float *floats, int64_t rows, int64_t dimensions,
                               uint64_t *out) {
  for (int64_t row = 0; row < rows; ++row)
    out[row] = checksum_of(floats + row * dimensions, dimensions);
}

// Vectors that are searched often.
struct Vectors {
  // residuals: null, or the residual bits of a matrix of 2-bit codes.
  const int8_t *matrix, *residuals;
  int64_t rows, width, bits;
  const float *steps;         // null, or (dimensions): what one step of the matrix's numbers is worth
  const float *floats;        // (rows, dimensions)
  const uint64_t *checksums;  // null, or (rows): of the floats
  int64_t dimensions;
  const int64_t *ids;         // null, or (rows): written to the output instead of row numbers
};

// As customir_top_k, for queries in floats, (count, dimensions), each of which is rounded to 8 bits with a scale of
// its own. The rows that are found are ordered by their inner products in floats, which are written, the largest first,
// equal ones by row number.
// With residuals, `first` rows, at least k, are chosen by their codes, and k of these by codes and residuals. For
// QUERIES_PER_TILE queries and more, which share what is read, k are chosen by codes and residuals at once.
// Returns a Status, DAMAGED where the floats of a row that was found do not have its checksum.
EXPORT int32_t customir_nearest(const Vectors *vectors, const char *name, const uint8_t *allowed,
                            const float *queries, int64_t count, int64_t first, int64_t k,
                            int32_t threads, int64_t *out_rows, float *out_products) {
  const auto [matrix, residuals, rows, width, bits, steps, floats, checksums, dimensions, ids] = *vectors;
  const Kernel *kernel = select_kernel(KERNELS, name);
  if (kernel == nullptr) return NO_KERNEL;
  try {
    const int64_t numbers = width * 8 / bits;
    std::vector<int8_t> rounded(count * numbers);
    std::vector<float> scaled(dimensions);
    for (int64_t query = 0; query < count; ++query) {
      float largest = 0;
      for (int64_t i = 0; i < dimensions; ++i) {
        scaled[i] = queries[query * dimensions + i] * (steps ? steps[i] : 1);
        largest = std::max(largest, std::abs(scaled[i]));
      }
      for (int64_t i = 0; largest > 0 && i < dimensions; ++i)
        rounded[query * numbers + i] = int8_t(std::nearbyint(scaled[i] * (127 / largest)));
    }
    std::vector<Candidates> chosen;
    const bool two_passes = residuals && count < QUERIES_PER_TILE;
    const Status status =
        find_best(*kernel, {matrix, two_passes ? nullptr : residuals, rows, width, int32_t(bits), allowed},
               rounded.data(), count, two_passes ? first : k, threads, chosen);
    if (status) return status;
    std::vector<int64_t> places(k);
    std::vector<float> products(k);
    std::vector<std::pair<float, int64_t>> found(k);
    for (int64_t query = 0; query < count; ++query) {
      if (two_passes)
        chosen[query] = refine(*kernel, chosen[query], residuals, width, &rounded[query * numbers], k);
      std::copy_n(chosen[query].rows.get(), k, places.begin());
      if (!kernel->rescore(floats, checksums, dimensions, queries + query * dimensions, places.data(), k,
                        products.data()))
        return DAMAGED;
      for (int64_t place = 0; place < k; ++place) found[place] = {products[place], places[place]};
      std::sort(found.begin(), found.end(), [](const auto &a, const auto &b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
      });
      for (const auto &[product, row] : found)
        *out_products++ = product, *out_rows++ = ids ? ids[row] : row;
    }
  } catch (...) {
    return NO_MEMORY;
  }
  return OK;
}
