// The loops of attention.cpp, which includes this once for each instruction set.
// TARGET: its attribute; LANES: floats in a register; TILE_ROWS: as many rows of a product as registers
// hold two vectors of.

namespace LEVEL {

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));

constexpr int64_t rounded_up(int64_t number) { return (number + LANES - 1) / LANES * LANES; }

// out[i][j] (+)= sum over k of a(i, k) * b[k][j], i below ROWS, j below COLUMNS * LANES.
// a(i, k): a[i * a_row + k * a_step].
template <int ROWS, int COLUMNS>
TARGET __attribute__((always_inline)) inline void tile(const float *a, int64_t a_row, int64_t a_step,
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
TARGET void strip(const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_row,
                  int64_t depth, float *out, int64_t out_row, int64_t columns, bool add) {
  int64_t j = 0;
  for (; j + 2 * LANES <= columns; j += 2 * LANES)
    tile<ROWS, 2>(a, a_row, a_step, b + j, b_row, depth, out + j, out_row, add);
  if (j < columns) tile<ROWS, 1>(a, a_row, a_step, b + j, b_row, depth, out + j, out_row, add);
}

// out (+)= a b. columns: a multiple of LANES, as is every row of b and out.
TARGET void multiply(const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_row,
                     int64_t rows, int64_t depth, int64_t columns, float *out, int64_t out_row,
                     bool add) {
  int64_t i = 0;
  for (; i + TILE_ROWS <= rows; i += TILE_ROWS)
    strip<TILE_ROWS>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row,
                     columns, add);
  for (; i + 2 <= rows; i += 2)
    strip<2>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row, columns, add);
  if (i < rows)
    strip<1>(a + i * a_row, a_row, a_step, b, b_row, depth, out + i * out_row, out_row, columns, add);
}

// e^x for x of at most 0, within 2 units in the last place; below -87, e^-87 (Cephes' expf: x is
// n ln 2 and a rest, of which a polynomial is taken).
TARGET inline Vector exponential(Vector x) {
  x = x < -87.0f ? Vector{} - 87.0f : x;  // so no number stays no number
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

// The numbers of `held`, each in the place of the one `apart` lanes from it.
TARGET inline Vector exchanged(Vector held, int apart) {
  Vector found;
#if defined(__clang__)
  for (int lane = 0; lane < LANES; ++lane) found[lane] = held[lane ^ apart];
#else
  Integers places;
  for (int lane = 0; lane < LANES; ++lane) places[lane] = lane ^ apart;
  found = __builtin_shuffle(held, places);
#endif
  return found;
}

// In each lane the sum, or the largest, of all.
TARGET inline Vector sum_of(Vector held) {
#pragma GCC unroll 4
  for (int apart = LANES / 2; apart; apart /= 2) held += exchanged(held, apart);
  return held;
}
TARGET inline Vector most_of(Vector held) {
#pragma GCC unroll 4
  for (int apart = LANES / 2; apart; apart /= 2) {
    const Vector other = exchanged(held, apart);
    held = other > held ? other : held;
  }
  return held;
}

// Each row of scores to e^score, but for a factor that does not matter; into `shares`, what a row has to be
// multiplied by to be probabilities. A row has `columns` numbers and is filled up to `padded`.
TARGET void softmax(float *scores, int64_t rows, int64_t columns, int64_t padded, float *shares) {
  for (int64_t i = 0; i < rows; ++i, scores += padded) {
    for (int64_t j = columns; j < padded; ++j) scores[j] = -INFINITY;
    Vector most = *reinterpret_cast<Vector *>(scores);
    for (int64_t j = LANES; j < padded; j += LANES) {
      const Vector held = *reinterpret_cast<Vector *>(scores + j);
      most = held > most ? held : most;
    }
    most = most_of(most);
    Vector sums{};
    for (int64_t j = 0; j < padded; j += LANES) {
      Vector &held = *reinterpret_cast<Vector *>(scores + j);
      held = exponential(held - most);
      sums += held;
    }
    shares[i] = 1 / sum_of(sums)[0];
  }
}

// Each row times its factor.
TARGET void scale_rows(float *numbers, int64_t rows, int64_t width, const float *factors) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) numbers[i * width + j] *= factors[i];
}

// `rows` rows of `width` numbers, `stride` apart, as floats times `scale`, one after the other.
template <typename Number>
TARGET void read(const Number *from, int64_t stride, int64_t rows, int64_t width, float scale,
                 float *out) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) out[i * width + j] = wide(from[i * stride + j]) * scale;
}

// out[j][i] = from[i][j]; a row of `out` is filled up to `padded` with zeros.
TARGET void turn(const float *from, int64_t rows, int64_t width, float *out, int64_t padded) {
  for (int64_t first = 0; first < padded; first += LANES) {
    const int64_t there = std::min<int64_t>(LANES, rows - first);
    for (int64_t j = 0; j < width; ++j) {
      float *column = out + j * padded + first;
      for (int64_t i = 0; i < there; ++i) column[i] = from[(first + i) * width + j];
      for (int64_t i = there; i < LANES; ++i) column[i] = 0;
    }
  }
}

TARGET inline void put(float number, float *out) { *out = number; }
TARGET inline void put(float number, uint16_t *out) {  // to the nearest, of two as near the even one
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *out = uint16_t(number == number ? rounded : 0x7fc0);
}

template <typename Number>
TARGET void write(const float *from, int64_t rows, int64_t width, float scale, Number *out,
                  int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) put(from[i * width + j] * scale, out + i * stride + j);
}

// What `softmax` makes of the scores of a block of queries: (rows, padded), and `shares`.
TARGET void attend(const Task &task, int64_t head, const float *queries, const float *keys,
                   int64_t first, int64_t rows, int64_t length, float *scores, float *shares) {
  const int64_t padded = rounded_up(length);
  multiply(queries + first * task.width, task.width, 1, keys, padded, rows, task.width, padded, scores,
           padded, false);
  if (task.bias)
    for (int64_t i = 0; i < rows; ++i) {
      const float *added = task.bias + (head * task.bias_side + first + i) * task.bias_side;
      for (int64_t j = 0; j < length; ++j) scores[i * padded + j] += added[j];
    }
  softmax(scores, rows, length, padded, shares);
}

// Room for eight matrices of a text's and for two blocks of scores.
int64_t scratch_floats(int64_t length, int64_t width) {
  return rounded_up(length) * (8 * width + 2 * BLOCK);
}

template <typename Number>
TARGET void forward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = rounded_up(length);
  const int64_t all = task.heads * width, stride = 3 * all, size = padded * width;
  const Number *joint =
      static_cast<const Number *>(task.joint) + task.starts[text] * stride + head * width;
  float *queries = scratch, *keys = queries + size, *values = keys + size, *made = values + size;
  float *scores = made + size;
  read(joint + all, stride, length, width, 1, made);
  turn(made, length, width, keys, padded);
  read(joint, stride, length, width, 1 / std::sqrt(float(width)), queries);
  read(joint + 2 * all, stride, length, width, 1, values);
  for (int64_t first = 0; first < length; first += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - first);
    float shares[BLOCK];
    attend(task, head, queries, keys, first, rows, length, scores, shares);
    multiply(scores, padded, 1, values, width, rows, length, width, made + first * width, width, false);
    scale_rows(made + first * width, rows, width, shares);
  }
  write(made, length, width, 1, static_cast<Number *>(task.context) + task.starts[text] * all + head * width, all);
}

// With P the probabilities and G the gradient of the context: to V, P^T G; to P, G V^T; to a score,
// P (that less the row's mean of it under P); from there to queries and keys.
template <typename Number>
TARGET void backward_of(const Task &task, int64_t text, int64_t head, float *scratch) {
  const int64_t length = task.lengths[text], width = task.width, padded = rounded_up(length);
  const int64_t all = task.heads * width, stride = 3 * all, size = padded * width;
  const float scale = 1 / std::sqrt(float(width));
  const int64_t place = task.starts[text] * stride + head * width;
  const Number *joint = static_cast<const Number *>(task.joint) + place;
  Number *to_joint = static_cast<Number *>(task.to_joint) + place;
  float *queries = scratch, *keys = queries + size, *keys_across = keys + size;
  float *values_across = keys_across + size, *gradient = values_across + size;
  float *to_queries = gradient + size, *to_keys = to_queries + size, *to_values = to_keys + size;
  float *found = to_values + size, *to_found = found + BLOCK * padded;
  read(joint + 2 * all, stride, length, width, 1, keys);
  turn(keys, length, width, values_across, padded);
  read(joint + all, stride, length, width, 1, keys);
  turn(keys, length, width, keys_across, padded);
  read(joint, stride, length, width, scale, queries);
  read(static_cast<const Number *>(task.gradient) + task.starts[text] * all + head * width, all, length,
       width, 1, gradient);
  std::fill_n(to_keys, 2 * size, 0.0f);
  for (int64_t first = 0; first < length; first += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - first), from = first * width;
    float shares[BLOCK];
    attend(task, head, queries, keys_across, first, rows, length, found, shares);
    scale_rows(gradient + from, rows, width, shares);
    multiply(found, 1, padded, gradient + from, width, length, rows, width, to_values, width, true);
    multiply(gradient + from, width, 1, values_across, padded, rows, width, padded, to_found, padded,
             false);
    for (int64_t i = 0; i < rows; ++i) {
      const float *held = found + i * padded;
      float *to_held = to_found + i * padded;
      Vector sums{};
      for (int64_t j = 0; j < padded; j += LANES)
        sums += *reinterpret_cast<const Vector *>(held + j) * *reinterpret_cast<Vector *>(to_held + j);
      const Vector mean = sum_of(sums) * shares[i];
      for (int64_t j = 0; j < padded; j += LANES) {
        Vector &score = *reinterpret_cast<Vector *>(to_held + j);
        score = (score - mean) * *reinterpret_cast<const Vector *>(held + j);
      }
    }
    multiply(to_found, padded, 1, keys, width, rows, length, width, to_queries + from, width, false);
    multiply(to_found, 1, padded, queries + from, width, length, rows, width, to_keys, width, true);
  }
  write(to_queries, length, width, scale, to_joint, stride);
  write(to_keys, length, width, 1, to_joint + all, stride);
  write(to_values, length, width, 1, to_joint + 2 * all, stride);
}

void forward(const Task &task, int64_t text, int64_t head, float *scratch) {
  (task.bfloat16 ? forward_of<uint16_t> : forward_of<float>)(task, text, head, scratch);
}

void backward(const Task &task, int64_t text, int64_t head, float *scratch) {
  (task.bfloat16 ? backward_of<uint16_t> : backward_of<float>)(task, text, head, scratch);
}

}  // namespace LEVEL

#undef LEVEL
#undef TARGET
#undef LANES
#undef TILE_ROWS
