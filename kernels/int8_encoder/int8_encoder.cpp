// From token ids to unit vectors by a BERT-like encoder whose weights are int8: the C interface and the choice of an
// implementation. README.md has the algorithm.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <vector>

#include "../abi.hpp"
#include "../capabilities.hpp"
#include "encoder.hpp"
#if defined(__x86_64__)
#include "avx2.hpp"
#include "avx512_vnni.hpp"
#include "avx_vnni.hpp"
#elif defined(__aarch64__)
#include "neon_dotprod.hpp"
#include "neon_i8mm.hpp"
#endif
#ifdef COMPILES_AMX
#include "amx.hpp"
#endif

namespace {

struct Kernel {
  const char *name;
  int64_t (*packed_size)(const int8_t *weights, int64_t depth, int64_t columns);
  void (*pack)(const int8_t *weights, int64_t depth, int64_t columns, int8_t *out);
  void (*encode)(const Encoder &, const Batch &, const int32_t *ids, float *out);
  bool (*is_supported)(int64_t head_width);
};

const Kernel KERNELS[] = {
#ifdef COMPILES_AMX
    {"amx", plain_size, pack_by_fours, int8_amx::encode_batch,
     [](int64_t head_width) { return head_width % TILE_INNER == 0 && has_avx512_vnni() && has_amx(); }},
#endif
#if defined(__x86_64__)
    {"avx512_vnni", plain_size, pack_by_fours, int8_avx512_vnni::encode_batch,
     [](int64_t head_width) { return head_width % 16 == 0 && has_avx512_vnni(); }},
    {"avx_vnni", plain_size, pack_by_fours, int8_avx_vnni::encode_batch,
     [](int64_t head_width) { return head_width % 16 == 0 && has_avx_vnni(); }},
    {"avx2", int8_avx2::packed_size, int8_avx2::pack, int8_avx2::encode_batch,
     [](int64_t head_width) { return head_width % 16 == 0 && has_avx2(); }},
#elif defined(__aarch64__)
    {"neon_i8mm", plain_size, int8_neon_i8mm::pack, int8_neon_i8mm::encode_batch,
     [](int64_t head_width) { return head_width % 16 == 0 && has_neon_i8mm(); }},
    {"neon_dotprod", plain_size, pack_by_fours, int8_neon_dotprod::encode_batch,
     [](int64_t head_width) { return head_width % 16 == 0 && has_neon_dotprod(); }},
#else
    {"none", nullptr, nullptr, nullptr, [](int64_t) { return false; }},
#endif
};

enum Status { OK = 0, NO_KERNEL = -1, NO_MEMORY = -2, BAD_INPUT = -3 };

}  // namespace

// The kernel called `name` (null: the fastest one) for heads of this width; null where this processor cannot run it.
EXPORT const char *customir_int8_encoder_kernel(const char *name, int64_t head_width) {
  const Kernel *kernel = select_kernel(KERNELS, name, head_width);
  return kernel ? kernel->name : nullptr;
}

// Bytes of `weights`, (depth, columns), in the layout of a kernel; -1 where this processor cannot run it.
EXPORT int64_t customir_int8_encoder_packed_size(const char *name, int64_t head_width, const int8_t *weights,
                                                 int64_t depth, int64_t columns) {
  const Kernel *kernel = select_kernel(KERNELS, name, head_width);
  return kernel ? kernel->packed_size(weights, depth, columns) : -1;
}

// Lays `weights`, (depth, columns), out for a kernel, in as many bytes as customir_int8_encoder_packed_size says.
EXPORT void customir_int8_encoder_pack(const char *name, int64_t head_width, const int8_t *weights, int64_t depth,
                                       int64_t columns, int8_t *out) {
  if (const Kernel *kernel = select_kernel(KERNELS, name, head_width)) kernel->pack(weights, depth, columns, out);
}

// Writes the unit vectors of texts, (texts, width). `ids`: those of all texts, one text after the other. Returns a
// Status; BAD_INPUT is an id that is not in the vocabulary, or a text that is empty or too long.
EXPORT int32_t customir_int8_encode(const Encoder *encoder, const char *name, const int32_t *ids,
                                    const int64_t *lengths, int64_t texts, float *out) {
  const Kernel *kernel = select_kernel(KERNELS, name, encoder->width / encoder->heads);
  if (!kernel) return NO_KERNEL;
  try {
    Batch batch{{}, lengths, texts, 0, 0};
    for (int64_t text = 0; text < texts; ++text) {
      if (lengths[text] < 1 || lengths[text] > encoder->max_tokens) return BAD_INPUT;
      batch.starts.push_back(batch.tokens);
      batch.tokens += lengths[text];
      batch.longest = std::max(batch.longest, lengths[text]);
    }
    for (int64_t token = 0; token < batch.tokens; ++token)
      if (ids[token] < 0 || ids[token] >= encoder->vocabulary) return BAD_INPUT;
    kernel->encode(*encoder, batch, ids, out);
  } catch (const std::exception &) {
    return NO_MEMORY;
  }
  return OK;
}
