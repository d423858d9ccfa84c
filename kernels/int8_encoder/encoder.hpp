// What the implementations of the encoder share: the model as Python hands it over, and a batch of texts.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../attention/attention.hpp"

// A weight matrix, quantised by column. Depths are multiples of 64, and columns of 32.
struct Matrix {
  const int8_t *weights;      // (depth, columns), laid out by `customir_int8_encoder_pack`
  const float *scales;        // (columns): a weight is its whole number times the scale of its column
  const float *sums;          // (columns): the sum of a column's whole numbers
  const float *bias;          // (columns)
  const float *input_scales;  // (depth): the input is multiplied by these before it is quantised
  int64_t depth, columns;
};

struct LayerNorm {
  const float *weight, *bias;  // (width)
};

struct Layer {
  Matrix qkv;  // queries, keys and values beside each other
  Matrix attention_output;
  LayerNorm attention_norm;
  // The feed-forward block in `parts` parts: the outputs of one part of `intermediate` are the inputs of the same part
  // of `output`, and the results of all parts are added up.
  const Matrix *intermediate, *output;
  int64_t parts;
  LayerNorm output_norm;
};

struct Encoder {
  const uint8_t *word_embeddings;  // (vocabulary, width)
  float word_scale, word_zero;     // a number is (its whole number - word_zero) * word_scale
  const float *positions;          // (max_tokens, width): added to a token by its place in the text
  const float *bias;               // null, or (heads, max_tokens, max_tokens): added to the attention scores
  LayerNorm embedding_norm;
  const Layer *layers;
  int64_t vocabulary, max_tokens, width, heads, layer_count;
  float epsilon;
  int32_t cls_pooling;  // a text's vector is that of its first token instead of the mean
};

namespace {

constexpr int64_t CHUNK = 64;  // tokens that go through a matrix together
constexpr int64_t BLOCK = 32;  // rows and columns of a product that are computed together
constexpr int64_t PACKED_COLUMNS = 16, PACKED_DEPTH = 4;  // of the packed layout

// Rows in 8 bits: a number is its whole number times the scale of its row, plus the minimum of its row.
struct QuantizedRows {
  uint8_t *whole;
  float *scales, *minima;
};

// Texts that are embedded together. Their tokens stand one after the other.
struct Batch {
  std::vector<int64_t> starts;
  const int64_t *lengths;
  int64_t texts, tokens, longest;
};

// Memory that a thread keeps for its next batch, which is about as large.
struct Buffers {
  std::vector<float> hidden, intermediate, scratch, row_floats;
  std::vector<uint8_t> narrow, wide;    // quantised rows of the model's width, and of the feed-forward width
  std::vector<uint16_t> qkv, context;  // bfloat16, or float as two of these each
};

// Room for `count` numbers, aligned to a cache line.
template <typename Number>
Number *reserve(std::vector<Number> &buffer, size_t count) {
  constexpr size_t LINE = 64 / sizeof(Number);
  if (buffer.size() < count + LINE) buffer.resize(count + LINE);
  return reinterpret_cast<Number *>((reinterpret_cast<uintptr_t>(buffer.data()) + 63) / 64 * 64);
}

// Writes the BLOCK by BLOCK whole numbers of left * matrix, for columns from `column` on and the first `rows` rows of
// `left`, which has `matrix.depth` numbers a row. Memory behind `left` is read too, up to 16 rows.
using Multiply = void (*)(const uint8_t *left, const Matrix &matrix, int64_t column, int64_t rows, int32_t *out);

// Attention within each text of the batch, from (tokens, 3 * width) to (tokens, width).
template <typename Number>
using Attend = void (*)(const Encoder &encoder, const Batch &batch, Number *qkv, Number *context, Buffers &buffers);

// Attention in float32, by the functions of an instruction set in ../attention.
void attend_by(void (*forward)(const Task &, int64_t text, int64_t head, float *scratch),
               int64_t (*scratch_floats)(int64_t longest, int64_t width), const Encoder &encoder, const Batch &batch,
               float *qkv, float *context, Buffers &buffers) {
  const Task task{batch.lengths, batch.starts.data(), batch.texts, encoder.heads, encoder.width / encoder.heads,
                  encoder.bias, encoder.max_tokens, false, qkv, context, nullptr, nullptr};
  float *scratch = reserve(buffers.scratch, size_t(scratch_floats(batch.longest, task.width)));
  for (int64_t text = 0; text < batch.texts; ++text)
    for (int64_t head = 0; head < encoder.heads; ++head) forward(task, text, head, scratch);
}

// What happens to a product with its bias: it is stored, its GELU is stored, or it is added to what is there.
enum Epilogue { STORE, STORE_GELU, ADD };

// The layout for instructions that multiply four numbers of a column at a time: for each 16 columns and each 4 of the
// depth, the numbers of one column stand together.
void pack_by_fours(const int8_t *weights, int64_t depth, int64_t columns, int8_t *out) {
  for (int64_t column = 0; column < columns; column += PACKED_COLUMNS)
    for (int64_t k = 0; k < depth; k += PACKED_DEPTH)
      for (int64_t j = 0; j < PACKED_COLUMNS; ++j)
        for (int64_t i = 0; i < PACKED_DEPTH; ++i) *out++ = weights[(k + i) * columns + column + j];
}

// Bytes of a matrix in a layout that holds nothing but its weights.
int64_t plain_size(const int8_t *, int64_t depth, int64_t columns) { return depth * columns; }

}  // namespace
