// The algorithm, in vector operations of any width. The header of each instruction set includes this file once, inside
// its namespace, after defining TARGET (its target attribute) and in that namespace the type `Vector` of LANES floats
// with its operations: load, store, broadcast, add, sub, mul, fma (a * b + c), fms (a * b - c), min, max, reduce_add,
// reduce_min, reduce_max, clamp, divide (of positive numbers, within 2^-14), load_bytes, load_integers and store_bytes
// (rounded and clipped to 0 ... 255).

// x Phi(x). Phi(x) - 1/2 is x times a rational function of x^2, fitted on [-5, 5]: within 1e-5 there, and within the
// relative error of `divide`.
TARGET INLINE Vector gelu(Vector x) {
  const Vector clipped = clamp(x, 5), square = mul(clipped, clipped);
  Vector numerator = fma(broadcast(3.00980993e-5f), square, broadcast(3.75906038e-3f));
  numerator = fma(numerator, square, broadcast(2.94079542e-2f));
  numerator = fma(numerator, square, broadcast(3.98877309e-1f));
  Vector denominator = fma(broadcast(1.09666537e-3f), square, broadcast(2.46413256e-2f));
  denominator = fma(denominator, square, broadcast(2.40054756e-1f));
  denominator = fma(denominator, square, broadcast(1));
  return mul(x, fma(divide(numerator, denominator), clipped, broadcast(0.5f)));
}

// Multiplies the rows of `left` from `start` on with a matrix. `out` has `matrix.columns` numbers a row, and its first
// row is that of `start`.
template <Epilogue EPILOGUE, typename Number>
TARGET void multiply_rows(const Matrix &matrix, const QuantizedRows &left, int64_t start, int64_t rows,
                          Multiply multiply, Number *out) {
  alignas(64) int32_t products[BLOCK * BLOCK];
  for (int64_t column = 0; column < matrix.columns; column += BLOCK)
    for (int64_t first = 0; first < rows; first += BLOCK) {
      const int64_t count = std::min(BLOCK, rows - first);
      multiply(left.whole + (start + first) * matrix.depth, matrix, column, count, products);
      for (int64_t j = column; j < column + BLOCK; j += LANES) {
        const Vector scales = load(matrix.scales + j), sums = load(matrix.sums + j);
        const Vector bias = load(matrix.bias + j);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t row = first + i;
          const Vector whole = load_integers(products + i * BLOCK + j - column);
          const Vector lowest = mul(sums, broadcast(left.minima[start + row]));
          const Vector sum = fma(whole, broadcast(left.scales[start + row]), lowest);
          const Vector number = fma(sum, scales, bias);
          Number *to = out + row * matrix.columns + j;
          if constexpr (EPILOGUE == STORE)
            store(to, number);
          else if constexpr (EPILOGUE == STORE_GELU)
            store(to, gelu(number));
          else
            store(to, add(load(to), number));
        }
      }
    }
}

// Multiplies rows with the input scales of a matrix and quantises them, into the rows from `start` on.
template <typename Number>
TARGET void quantize_rows(const Number *from, int64_t rows, const Matrix &matrix, const QuantizedRows &into,
                          int64_t start) {
  uint8_t *out = into.whole + start * matrix.depth;
  for (int64_t row = start; row < start + rows; ++row, from += matrix.depth, out += matrix.depth) {
    Vector least = broadcast(INFINITY), most = broadcast(-INFINITY);
    for (int64_t j = 0; j < matrix.depth; j += LANES) {
      const Vector scaled = mul(load(from + j), load(matrix.input_scales + j));
      least = min(least, scaled);
      most = max(most, scaled);
    }
    const float minimum = reduce_min(least), range = reduce_max(most) - minimum;
    into.minima[row] = minimum;
    into.scales[row] = range / 255;
    const Vector steps = broadcast(range > 0 ? 255 / range : 0), lowest = broadcast(minimum);
    for (int64_t j = 0; j < matrix.depth; j += LANES)
      store_bytes(out + j, mul(fms(load(from + j), load(matrix.input_scales + j), lowest), steps));
  }
}

TARGET void normalize(float *numbers, int64_t rows, int64_t width, const LayerNorm &norm, float epsilon) {
  for (int64_t row = 0; row < rows; ++row, numbers += width) {
    Vector sum = broadcast(0), squares = sum;
    for (int64_t j = 0; j < width; j += LANES) sum = add(sum, load(numbers + j));
    const Vector mean = broadcast(reduce_add(sum) / float(width));
    for (int64_t j = 0; j < width; j += LANES) {
      const Vector centred = sub(load(numbers + j), mean);
      squares = fma(centred, centred, squares);
    }
    const float variance = reduce_add(squares) / float(width);
    const Vector scale = broadcast(1 / std::sqrt(variance + epsilon));
    for (int64_t j = 0; j < width; j += LANES) {
      const Vector centred = mul(sub(load(numbers + j), mean), scale);
      store(numbers + j, fma(centred, load(norm.weight + j), load(norm.bias + j)));
    }
  }
}

TARGET void look_up(const Encoder &encoder, const int32_t *ids, int64_t length, float *out) {
  const Vector scale = broadcast(encoder.word_scale), zero = broadcast(encoder.word_zero);
  for (int64_t place = 0; place < length; ++place, out += encoder.width)
    for (int64_t j = 0; j < encoder.width; j += LANES) {
      const Vector whole = load_bytes(encoder.word_embeddings + ids[place] * encoder.width + j);
      store(out + j, fma(sub(whole, zero), scale, load(encoder.positions + place * encoder.width + j)));
    }
}

// The mean of `length` rows, scaled to length 1.
TARGET void pool(const float *rows, int64_t length, int64_t width, float *out) {
  Vector squares = broadcast(0);
  for (int64_t j = 0; j < width; j += LANES) {
    Vector sum = broadcast(0);
    for (int64_t row = 0; row < length; ++row) sum = add(sum, load(rows + row * width + j));
    squares = fma(sum, sum, squares);
    store(out + j, sum);
  }
  const float norm = std::sqrt(reduce_add(squares));
  const Vector scale = broadcast(norm > 0 ? 1 / norm : 0);
  for (int64_t j = 0; j < width; j += LANES) store(out + j, mul(load(out + j), scale));
}

// Number: the type of what goes into the attention and comes out of it, float or uint16_t for bfloat16.
template <typename Number>
void encode(const Encoder &encoder, const Batch &batch, const int32_t *ids, Multiply multiply,
            Attend<Number> attend, float *out) {
  static thread_local Buffers held;
  Buffers &buffers = held;
  constexpr size_t UNITS = sizeof(Number) / sizeof(uint16_t);
  const int64_t tokens = batch.tokens, width = encoder.width;
  const int64_t part_width = encoder.layers[0].intermediate[0].columns;
  const int64_t padded = tokens + BLOCK;  // whole blocks are read and written
  float *hidden = reserve(buffers.hidden, size_t(tokens * width));
  float *intermediate = reserve(buffers.intermediate, size_t(CHUNK * part_width));
  Number *qkv = reinterpret_cast<Number *>(reserve(buffers.qkv, size_t(padded * 3 * width) * UNITS));
  Number *context = reinterpret_cast<Number *>(reserve(buffers.context, size_t(tokens * width) * UNITS));
  float *narrow_floats = reserve(buffers.row_floats, size_t(2 * tokens)), wide_floats[2 * CHUNK];
  const QuantizedRows narrow{reserve(buffers.narrow, size_t(padded * width)), narrow_floats, narrow_floats + tokens};
  const QuantizedRows wide{reserve(buffers.wide, size_t(CHUNK * part_width)), wide_floats, wide_floats + CHUNK};
  const auto by_chunks = [&](const auto &step) {
    for (int64_t first = 0; first < tokens; first += CHUNK)
      step(first, std::min(CHUNK, tokens - first), hidden + first * width);
  };
  for (int64_t text = 0; text < batch.texts; ++text)
    look_up(encoder, ids + batch.starts[text], batch.lengths[text], hidden + batch.starts[text] * width);
  normalize(hidden, tokens, width, encoder.embedding_norm, encoder.epsilon);
  // Each matrix is multiplied with all tokens before the next one, so that it stays in the second-level cache.
  for (int64_t number = 0; number < encoder.layer_count; ++number) {
    const Layer &layer = encoder.layers[number];
    by_chunks([&](int64_t first, int64_t rows, float *chunk) {
      quantize_rows(chunk, rows, layer.qkv, narrow, first);
      multiply_rows<STORE>(layer.qkv, narrow, first, rows, multiply, qkv + first * 3 * width);
    });
    attend(encoder, batch, qkv, context, buffers);
    by_chunks([&](int64_t first, int64_t rows, float *chunk) {
      quantize_rows(context + first * width, rows, layer.attention_output, narrow, first);
      multiply_rows<ADD>(layer.attention_output, narrow, first, rows, multiply, chunk);
      normalize(chunk, rows, width, layer.attention_norm, encoder.epsilon);
      quantize_rows(chunk, rows, layer.intermediate[0], narrow, first);
    });
    for (int64_t part = 0; part < layer.parts; ++part)
      by_chunks([&](int64_t first, int64_t rows, float *chunk) {
        multiply_rows<STORE_GELU>(layer.intermediate[part], narrow, first, rows, multiply, intermediate);
        quantize_rows(intermediate, rows, layer.output[part], wide, 0);
        multiply_rows<ADD>(layer.output[part], wide, 0, rows, multiply, chunk);
      });
    normalize(hidden, tokens, width, layer.output_norm, encoder.epsilon);
  }
  for (int64_t text = 0; text < batch.texts; ++text)
    pool(hidden + batch.starts[text] * width, encoder.cls_pooling ? 1 : batch.lengths[text], width,
         out + text * width);
}

#undef TARGET
