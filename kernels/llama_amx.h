/* Read before every source of llama.cpp when `make` builds it.
 *
 * GCC's _tile_loadconfig (seen in 12.2) tells the compiler that it reads 8 bytes where LDTILECFG reads
 * 64, so the compiler drops the stores to the rest, and llama.cpp's first AMX instruction ends the
 * process with SIGILL. Here it reads all 64. Upstream: llama.cpp pull request 26954.
 */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))
#endif
