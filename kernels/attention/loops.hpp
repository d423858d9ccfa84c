// The algorithm, in vector operations of any width. The header of each instruction set includes this file once,
// after defining NAMESPACE, TARGET (its target attribute), LANES (floats in a register) and REGISTER_ROWS (for how
// many rows of a product the registers can hold two vectors of sums each).

namespace NAMESPACE {

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));

constexpr int64_t round_up(int64_t number) { return (number + LANES - 1) / LANES * LANES; }

// out[i][j] (+)= sum over k of a(i, k) * b[k][j], for i below ROWS and j below COLUMNS * LANES, where a(i, k) is
// a[i * a_row + k * a_step]. Adds to what `out` holds if `add` is set.
template <int ROWS, int COLUMNS>
TARGET __attribute__((always_inline)) inline void multiply_tile(const float *a, int64_t a_row, int64_t a_step,
                                                       const float *b, int64_t b_row, int64_t depth,
                                                       float *out, int64_t out_row, bool add) {
  Vector sums[ROWS][COLUMNS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < COLUMNS; ++j)
      sums[i][j] = add ? *reinterpret_cast<const Vector *>(out + i * out_row + j * LANES) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector row[COLUMNS];
#pragma GCC unroll 2
    for (int j = 0; j < COLUMNS; ++j)
      row[j] = *reinterpret_cast<const Vector *>(b + k * b_row + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Vector factor = a[i * a_row + k * a_step] - Vector{};
#pragma GCC unroll 2
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] += factor * row[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < COLUMNS; ++j)
      *reinterpret_cast<Vector *>(out + i * out_row + j * LANES) = sums[i][j];
}

template <int ROWS>
TARGET void multiply_strip(const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_row,
                  int64_t depth, float *out, int64_t out_row, int64_t columns, bool add) {
  int64_t j = 0;
  for (; j + 2 * LANES <= columns; j += 2 * LANES)
    multiply_tile<ROWS, 2>(a, a_row, a_step, b + j, b_row, depth, out + j, out_row, add);
  if (j < columns) multiply_tile<ROWS, 1>(a, a_row, a_step, b + j, b_row, depth, out + j, out_row, add);
}

// out (+)= a b. `columns` and the row lengths of b and out are multiples of LANES.
TARGET void multiply(const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_row,
                     int64_t rows, int64_t depth, int64_t columns, float *out, int64_t out_row,
                     bool add) {
  int64_t i = 0;
  for (; i + REGISTER_ROWS <= rows; i += REGISTER_ROWS)
    multiply_strip<REGISTER_ROWS>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row,
                     columns, add);
  for (; i + 2 <= rows; i += 2)
    multiply_strip<2>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row, columns, add);
  if (i < rows)
    multiply_strip<1>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row, columns, add);
}

// e^x for x of at most 0, within 2 units in the last place, and e^-87 below -87. After Cephes' expf: x is split into
// n ln 2 and a remainder, whose exponential is a polynomial.
TARGET inline Vector exponential(Vector x) {
  x = x < -87.0f ? Vector{} - 87.0f : x;  // written so that NaN stays NaN
  const Vector shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const Vector whole = shifted - 12582912.0f;
  const Vector rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vector sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const Integers power = ((Integers)shifted << 23) + (127 << 23);  // the low bits of `shifted` are n
  return sum * (Vector)power;
}

// The lanes of `held`, each exchanged with the one `apart` lanes from it.
TARGET inline Vector exchange(Vector held, int apart) {
  Vector probabilities;
#if defined(__clang__)
  for (int lane = 0; lane < LANES; ++lane) probabilities[lane] = held[lane ^ apart];
#else
  Integers places;
  for (int lane = 0; lane < LANES; ++lane) places[lane] = lane ^ apart;
  probabilities = __builtin_shuffle(held, places);
#endif
  return probabilities;
}

// The sum, or the maximum, of all lanes, in each lane.
TARGET inline Vector sum_of(Vector held) {
#pragma GCC unroll 4
  for (int apart = LANES / 2; apart; apart /= 2) held += exchange(held, apart);
  return held;
}
TARGET inline Vector max_of(Vector held) {
#pragma GCC unroll 4
  for (int apart = LANES / 2; apart; apart /= 2) {
    const Vector other = exchange(held, apart);
    held = other > held ? other : held;
  }
  return held;
}

// Replaces each row of scores by unnormalised probabilities e^(score - maximum), and writes the factor that
// normalises each row to `inverse_sums`. A row has `columns` numbers and is filled up to `padded` with zeros.
TARGET void softmax(float *scores, int64_t rows, int64_t columns, int64_t padded, float *inverse_sums) {
  for (int64_t i = 0; i < rows; ++i, scores += padded) {
    for (int64_t j = columns; j < padded; ++j) scores[j] = -INFINITY;
    Vector most = *reinterpret_cast<Vector *>(scores);
    for (int64_t j = LANES; j < padded; j += LANES) {
      const Vector held = *reinterpret_cast<Vector *>(scores + j);
      most = held > most ? held : most;
    }
    most = max_of(most);
    Vector sums{};
    for (int64_t j = 0; j < padded; j += LANES) {
      Vector &held = *reinterpret_cast<Vector *>(scores + j);
      held = exponential(held - most);
      sums += held;
    }
    inverse_sums[i] = 1 / sum_of(sums)[0];
  }
}

// Multiplies each row by its factor.
TARGET void scale_rows(float *numbers, int64_t rows, int64_t width, const float *factors) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) numbers[i * width + j] *= factors[i];
}

// Copies `rows` rows of `width` numbers, which are `stride` apart, to consecutive rows of floats times `scale`.
template <typename Number>
TARGET void read(const Number *from, int64_t stride, int64_t rows, int64_t width, float scale,
                 float *out) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) out[i * width + j] = to_float(from[i * stride + j]) * scale;
}

// out[j][i] = from[i][j]. Rows of `out` are filled up to `padded` with zeros.
TARGET void transpose(const float *from, int64_t rows, int64_t width, float *out, int64_t padded) {
  for (int64_t first = 0; first < padded; first += LANES) {
    const int64_t there = std::min<int64_t>(LANES, rows - first);
    for (int64_t j = 0; j < width; ++j) {
      float *column = out + j * padded + first;
      for (int64_t i = 0; i < there; ++i) column[i] = from[(first + i) * width + j];
      for (int64_t i = there; i < LANES; ++i) column[i] = 0;
    }
  }
}

TARGET inline void store(float number, float *out) { *out = number; }
TARGET inline void store(float number, uint16_t *out) {  // rounds to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *out = uint16_t(number == number ? rounded : 0x7fc0);
}

template <typename Number>
TARGET void write(const float *from, int64_t rows, int64_t width, float scale, Number *out,
                  int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) store(from[i * width + j] * scale, out + i * stride + j);
}

// The unnormalised probabilities of a block of queries, (rows, padded), and the factors that normalise them.
TARGET void compute_probabilities(const Task &task, int64_t head, const float *queries, const float *keys,
                   int64_t first, int64_t rows, int64_t length, float *scores, float *inverse_sums) {
  const int64_t padded = round_up(length);
  multiply(queries + first * task.width, task.width, 1, keys, padded, rows, task.width, padded, scores,
           padded, false);
  if (task.bias)
    for (int64_t i = 0; i < rows; ++i) {
      const float *added = task.bias + (head * task.bias_side + first + i) * task.bias_side;
      for (int64_t j = 0; j < length; ++j) scores[i * padded + j] += added[j];
    }
  softmax(scores, rows, length, padded, inverse_sums);
}

// Room for eight (padded length, width) matrices and two blocks of scores.
int64_t scratch_floats(int64_t length, int64_t width) {
  return round_up(length) * (8 * width + 2 * QUERIES_PER_BLOCK);
}

template <typename Number>
TARGET void forward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = round_up(length);
  const int64_t model_width = task.heads * width, stride = 3 * model_width, size = padded * width;
  const Number *qkv =
      static_cast<const Number *>(task.qkv) + task.starts[text] * stride + head * width;
  float *queries = scratch, *keys = queries + size, *values = keys + size, *output = values + size;
  float *scores = output + size;
  read(qkv + model_width, stride, length, width, 1, output);
  transpose(output, length, width, keys, padded);
  read(qkv, stride, length, width, 1 / std::sqrt(float(width)), queries);
  read(qkv + 2 * model_width, stride, length, width, 1, values);
  for (int64_t first = 0; first < length; first += QUERIES_PER_BLOCK) {
    const int64_t rows = std::min(QUERIES_PER_BLOCK, length - first);
    float inverse_sums[QUERIES_PER_BLOCK];
    compute_probabilities(task, head, queries, keys, first, rows, length, scores, inverse_sums);
    multiply(scores, padded, 1, values, width, rows, length, width, output + first * width, width, false);
    scale_rows(output + first * width, rows, width, inverse_sums);
  }
  write(output, length, width, 1, static_cast<Number *>(task.context) + task.starts[text] * model_width + head * width, model_width);
}

// With P the probabilities and G the gradient of the context, the gradient of V is P^T G and that of P is
// D = G V^T. The gradient of a score is P (D - m), where m is the mean of D's row under P; those of queries and keys
// follow from it.
template <typename Number>
TARGET void backward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = round_up(length);
  const int64_t model_width = task.heads * width, stride = 3 * model_width, size = padded * width;
  const float scale = 1 / std::sqrt(float(width));
  const int64_t place = task.starts[text] * stride + head * width;
  const Number *qkv = static_cast<const Number *>(task.qkv) + place;
  Number *grad_qkv = static_cast<Number *>(task.grad_qkv) + place;
  float *queries = scratch, *keys = queries + size, *keys_transposed = keys + size;
  float *values_transposed = keys_transposed + size, *grad_context = values_transposed + size;
  float *grad_queries = grad_context + size, *grad_keys = grad_queries + size, *grad_values = grad_keys + size;
  float *probabilities = grad_values + size, *grad_scores = probabilities + QUERIES_PER_BLOCK * padded;
  read(qkv + 2 * model_width, stride, length, width, 1, keys);
  transpose(keys, length, width, values_transposed, padded);
  read(qkv + model_width, stride, length, width, 1, keys);
  transpose(keys, length, width, keys_transposed, padded);
  read(qkv, stride, length, width, scale, queries);
  read(static_cast<const Number *>(task.grad_context) + task.starts[text] * model_width + head * width, model_width, length,
       width, 1, grad_context);
  std::fill_n(grad_keys, 2 * size, 0.0f);
  for (int64_t first = 0; first < length; first += QUERIES_PER_BLOCK) {
    const int64_t rows = std::min(QUERIES_PER_BLOCK, length - first), from = first * width;
    float inverse_sums[QUERIES_PER_BLOCK];
    compute_probabilities(task, head, queries, keys_transposed, first, rows, length, probabilities, inverse_sums);
    scale_rows(grad_context + from, rows, width, inverse_sums);
    multiply(probabilities, 1, padded, grad_context + from, width, length, rows, width, grad_values, width, true);
    multiply(grad_context + from, width, 1, values_transposed, padded, rows, width, padded, grad_scores, padded,
             false);
    for (int64_t i = 0; i < rows; ++i) {
      const float *held = probabilities + i * padded;
      float *to_held = grad_scores + i * padded;
      Vector sums{};
      for (int64_t j = 0; j < padded; j += LANES)
        sums += *reinterpret_cast<const Vector *>(held + j) * *reinterpret_cast<Vector *>(to_held + j);
      const Vector mean = sum_of(sums) * inverse_sums[i];
      for (int64_t j = 0; j < padded; j += LANES) {
        Vector &score = *reinterpret_cast<Vector *>(to_held + j);
        score = (score - mean) * *reinterpret_cast<const Vector *>(held + j);
      }
    }
    multiply(grad_scores, padded, 1, keys, width, rows, length, width, grad_queries + from, width, false);
    multiply(grad_scores, 1, padded, queries + from, width, length, rows, width, grad_keys, width, true);
  }
  write(grad_queries, length, width, scale, grad_qkv, stride);
  write(grad_keys, length, width, 1, grad_qkv + model_width, stride);
  write(grad_values, length, width, 1, grad_qkv + 2 * model_width, stride);
}

void forward(const Task &task, int64_t text, int64_t head, float *scratch) {
  (task.bfloat16 ? forward_of<uint16_t> : forward_of<float>)(task, text, head, scratch);
}

void backward(const Task &task, int64_t text, int64_t head, float *scratch) {
  (task.bfloat16 ? backward_of<uint16_t> : backward_of<float>)(task, text, head, scratch);
}

}  // namespace NAMESPACE

#undef NAMESPACE
#undef TARGET
#undef LANES
#undef REGISTER_ROWS
