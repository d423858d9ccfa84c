// Attention by AVX2.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../capabilities.hpp"
#include "attention.hpp"

namespace {

#define NAMESPACE avx2
#define TARGET TARGET_AVX2
#define LANES 8
#define REGISTER_ROWS 6
#include "loops.hpp"

}  // namespace
