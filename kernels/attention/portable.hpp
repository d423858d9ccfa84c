// Attention by whatever vectors of four floats the compiler has: NEON on arm64, SSE2 on x86.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../capabilities.hpp"
#include "attention.hpp"

namespace {

#define NAMESPACE portable
#define TARGET
#define LANES 4
#define REGISTER_ROWS 6
#include "loops.hpp"

}  // namespace
