// Attention within each of several texts whose tokens stand one after the other, and its gradient.
//
// softmax(Q K^T / sqrt(width) + bias) V for each text and head, by blocks of queries that stay in the
// second-level cache, computed in floats whatever the type of what comes and goes, but for bfloat16 where
// the processor has tiles for it (attention_tiles.hpp). Nothing is kept for
// the gradient: a block's scores are computed again (as Dao et al. 2022, arXiv 2205.14135, section 3.1).
//
// A C interface, no flags for this machine's processor: attention_loops.hpp is compiled once for each
// instruction set, and the best one that the processor has is taken at run time.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <vector>

#include "attention_kernels.hpp"
#include "threads.hpp"

namespace {

struct Kernel {
  const char *name;
  void (*forward)(const Task &, int64_t text, int64_t head, float *scratch);
  void (*backward)(const Task &, int64_t text, int64_t head, float *scratch);
  int64_t (*scratch)(int64_t length, int64_t width);
};

// `name`: null is the fastest for such numbers and heads of such a width.
const Kernel *kernel(const char *name, bool bfloat16, int64_t width) {
  static const Kernel all[] = {
#ifdef HAS_TILES
      {"tiles", with_tiles::forward_of, with_tiles::backward_of, with_tiles::scratch_floats},
#endif
#if defined(__x86_64__)
      {"avx512", avx512::forward, avx512::backward, avx512::scratch_floats},
      {"avx2", avx2::forward, avx2::backward, avx2::scratch_floats},
#endif
      {"portable", portable::forward, portable::backward, portable::scratch_floats},
  };
  for (const Kernel &one : all) {
    if (name && std::strcmp(name, one.name)) continue;
#ifdef HAS_TILES
    if (!std::strcmp(one.name, "tiles") && !(bfloat16 && width % DEPTH == 0 && has_tiles())) continue;
#endif
#if defined(__x86_64__)
    if (!std::strcmp(one.name, "avx512") && !__builtin_cpu_supports("avx512f")) continue;
    if (!std::strcmp(one.name, "avx2") &&
        !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
      continue;
#endif
    return &one;
  }
  return nullptr;
}

// One for all threads of a call: they take the next text and head until none is left.
struct Shared {
  const Kernel *kernel;
  const Task *task;
  int64_t longest;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
};

void work(void *given) {
  Shared &shared = *static_cast<Shared *>(given);
  const Task &task = *shared.task;
  try {
    std::vector<float> scratch(size_t(shared.kernel->scratch(shared.longest, task.width)) + 16);
    float *aligned = scratch.data();
    while (reinterpret_cast<uintptr_t>(aligned) % 64) ++aligned;
    for (int64_t place; (place = shared.next++) < task.texts * task.heads;) {
      const int64_t text = place / task.heads, head = place % task.heads;
      (task.gradient ? shared.kernel->backward : shared.kernel->forward)(task, text, head, aligned);
    }
  } catch (const std::exception &) {
    shared.failed = true;
  }
}

}  // namespace

extern "C" {

// The name of the kernel that is taken for `name` (null: of the best), for numbers in bfloat16 or float32 and
// heads of a width; null where there is none.
const char *customir_attention_kernel(const char *name, int32_t bfloat16, int64_t width) {
  const Kernel *found = kernel(name, bool(bfloat16), width);
  return found ? found->name : nullptr;
}

// Forward where `gradient` is null, else backward. 0, or -1: no such kernel; -2: no memory.
int32_t customir_attention(const char *name, const int64_t *lengths, int64_t texts, int64_t heads,
                           int64_t width, const float *bias, int64_t bias_side, int32_t bfloat16,
                           const void *joint, void *context, const void *gradient, void *to_joint,
                           int32_t threads) {
  const Kernel *chosen = kernel(name, bool(bfloat16), width);
  if (!chosen) return -1;
  try {
    std::vector<int64_t> starts;
    int64_t rows = 0, longest = 0;
    for (int64_t text = 0; text < texts; ++text) {
      starts.push_back(rows);
      rows += lengths[text];
      longest = std::max(longest, lengths[text]);
    }
    const Task task{lengths, starts.data(), texts, heads, width, bias, bias_side, bool(bfloat16),
                    joint, context, gradient, to_joint};
    Shared shared;
    shared.kernel = chosen;
    shared.task = &task;
    shared.longest = longest;
    run(work, &shared, threads);
    return shared.failed ? -2 : 0;
  } catch (const std::exception &) {
    return -2;
  }
}

}  // extern "C"
