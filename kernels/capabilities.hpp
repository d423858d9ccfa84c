// What this processor can do, and how every operation chooses among its implementations.
//
// A kernel is compiled without flags for the processor of this machine. Each instruction set has a header of its
// own, whose functions carry a target attribute, and the fastest set that the processor has is chosen at run time:
// an operation lists its implementations from the fastest to the slowest and asks `select_kernel` for one.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>)
#include <sys/syscall.h>
#include <unistd.h>
#define COMPILES_AMX
#endif
#endif
#endif

#define INLINE __attribute__((always_inline)) inline
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TARGET_AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define TARGET_AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define TARGET_NEON_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#define TARGET_NEON_I8MM __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#define TARGET_AMX                                                                                 \
  __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))

namespace {

[[maybe_unused]] bool always() { return true; }

#if defined(__x86_64__)
[[maybe_unused]] bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// The VNNI of 256 bits, which Intel's client processors have without AVX-512.
[[maybe_unused]] bool has_avx_vnni() {
  constexpr unsigned AVX_VNNI = 1u << 4;
  unsigned a, b, c, d;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI);
}

[[maybe_unused]] bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

[[maybe_unused]] bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

#if defined(__aarch64__)
[[maybe_unused]] bool has_neon_dotprod() {
#if defined(__linux__)
  constexpr unsigned long DOTPROD = 1ul << 20;
  return getauxval(AT_HWCAP) & DOTPROD;
#elif defined(__APPLE__)
  int found = 0;
  size_t size = sizeof found;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, nullptr, 0) == 0 && found;
#else
  return false;
#endif
}

[[maybe_unused]] bool has_neon_i8mm() {
#if defined(__linux__)
  constexpr unsigned long I8MM = 1ul << 13;
  return getauxval(AT_HWCAP2) & I8MM;
#elif defined(__APPLE__)
  int found = 0;
  size_t size = sizeof found;
  return sysctlbyname("hw.optional.arm.FEAT_I8MM", &found, &size, nullptr, 0) == 0 && found;
#else
  return false;
#endif
}
#endif

#ifdef COMPILES_AMX
// AMX, for products of bfloat16 and of int8, which the operating system has to allow to this process. Asked once:
// in a virtual machine the question takes long.
[[maybe_unused]] bool has_amx() {
  static const bool found = [] {
    constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24, INT8 = 1u << 25;
    unsigned a, b, c, d;
    if (!has_avx512() || !__builtin_cpu_supports("avx512bf16")) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (BF16 | TILE | INT8)) != (BF16 | TILE | INT8))
      return false;
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
  }();
  return found;
}
#endif

// The first of `kernels`, which stand from the fastest to the slowest, that has this name (null: any) and supports
// the request. Null where there is none. A `Kernel` has a `name` and a function `is_supported(request...)`.
template <typename Kernel, size_t COUNT, typename... Request>
const Kernel *select_kernel(const Kernel (&kernels)[COUNT], const char *name, Request... request) {
  for (const Kernel &kernel : kernels)
    if ((!name || !std::strcmp(name, kernel.name)) && kernel.is_supported(request...)) return &kernel;
  return nullptr;
}

}  // namespace
