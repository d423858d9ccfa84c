// Attention by AVX-512.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../capabilities.hpp"
#include "attention.hpp"

namespace {

#define NAMESPACE avx512
#define TARGET TARGET_AVX512
#define LANES 16
#define REGISTER_ROWS 8
#include "loops.hpp"

}  // namespace
