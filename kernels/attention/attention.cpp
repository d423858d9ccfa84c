// Attention within each of several packed texts, and its gradient: the C interface and the choice of an
// implementation. README.md has the formula.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <vector>

#include "../abi.hpp"
#include "../capabilities.hpp"
#include "attention.hpp"
#include "portable.hpp"
#include "threads.hpp"
#if defined(__x86_64__)
#include "avx2.hpp"
#include "avx512.hpp"
#endif
#ifdef COMPILES_AMX
#include "amx.hpp"
#endif

namespace {

struct Kernel {
  const char *name;
  void (*forward)(const Task &, int64_t text, int64_t head, float *scratch);
  void (*backward)(const Task &, int64_t text, int64_t head, float *scratch);
  int64_t (*scratch_floats)(int64_t longest, int64_t width);
  bool (*is_supported)(bool bfloat16, int64_t width);
};

const Kernel KERNELS[] = {
#ifdef COMPILES_AMX
    {"amx", amx::forward, amx::backward, amx::scratch_floats,
     [](bool bfloat16, int64_t width) { return bfloat16 && width % TILE_INNER == 0 && has_amx(); }},
#endif
#if defined(__x86_64__)
    {"avx512", avx512::forward, avx512::backward, avx512::scratch_floats,
     [](bool, int64_t) { return has_avx512(); }},
    {"avx2", avx2::forward, avx2::backward, avx2::scratch_floats, [](bool, int64_t) { return has_avx2(); }},
#endif
    {"portable", portable::forward, portable::backward, portable::scratch_floats,
     [](bool, int64_t) { return true; }},
};

// Shared by all threads of a call: each takes the next text and head until none is left.
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
    std::vector<float> scratch(size_t(shared.kernel->scratch_floats(shared.longest, task.width)) + 16);
    float *aligned = scratch.data();
    while (reinterpret_cast<uintptr_t>(aligned) % 64) ++aligned;
    for (int64_t place; (place = shared.next++) < task.texts * task.heads;) {
      const int64_t text = place / task.heads, head = place % task.heads;
      (task.grad_context ? shared.kernel->backward : shared.kernel->forward)(task, text, head, aligned);
    }
  } catch (const std::exception &) {
    shared.failed = true;
  }
}

enum Status { OK = 0, NO_KERNEL = -1, NO_MEMORY = -2 };

}  // namespace

// The kernel called `name` (null: the fastest one) for bfloat16 or float32 and heads of this width; null where this
// processor cannot run it.
EXPORT const char *customir_attention_kernel(const char *name, int32_t bfloat16, int64_t width) {
  const Kernel *kernel = select_kernel(KERNELS, name, bool(bfloat16), width);
  return kernel ? kernel->name : nullptr;
}

// Computes the context where `grad_context` is null, and the gradient of `qkv` otherwise (see `Task`). Returns a
// Status.
EXPORT int32_t customir_attention(const char *name, const int64_t *lengths, int64_t texts, int64_t heads,
                                  int64_t width, const float *bias, int64_t bias_side, int32_t bfloat16,
                                  const void *qkv, void *context, const void *grad_context,
                                  void *grad_qkv, int32_t threads) {
  const Kernel *kernel = select_kernel(KERNELS, name, bool(bfloat16), width);
  if (!kernel) return NO_KERNEL;
  try {
    std::vector<int64_t> starts;
    int64_t rows = 0, longest = 0;
    for (int64_t text = 0; text < texts; ++text) {
      starts.push_back(rows);
      rows += lengths[text];
      longest = std::max(longest, lengths[text]);
    }
    const Task task{lengths, starts.data(), texts, heads, width, bias, bias_side, bool(bfloat16),
                    qkv, context, grad_context, grad_qkv};
    Shared shared;
    shared.kernel = kernel;
    shared.task = &task;
    shared.longest = longest;
    run_on_threads(work, &shared, threads);
    return shared.failed ? NO_MEMORY : OK;
  } catch (const std::exception &) {
    return NO_MEMORY;
  }
}
