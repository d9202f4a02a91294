// The inner loops of the CPU ops, as a table of functions: a plain form that can be read, and fast
// forms for the instruction sets at hand. Everything above the table is the same for all of them.
//
// Batch-invariance is kept here: each output is computed in an order that depends on its own inputs
// only (the columns of a dot product, the keys of a chunk), never on how many rows, tokens or
// queries a call has.
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace m2 {

// Attention is computed over fixed chunks of this many positions, whose results are then merged in
// order; so the result does not depend on how a prompt was cut or who computed which chunk.
inline constexpr int32_t kChunkTokens = 256;
// Tokens of one matmul call at most; callers cut longer batches.
inline constexpr int32_t kTokenBlock = 64;
// Rows (outputs) of one matmul call that callers make at most.
inline constexpr int32_t kRowBlock = 64;
// Queries of one attend call at most.
inline constexpr int32_t kQueryBlock = 32;

// One chunk of keys and values of one KV head, for several queries that share the head.
struct AttendChunk {
  const float* const* keys;    // one a KV block of the chunk: [block_tokens, head_dim]
  const float* const* values;  // likewise
  int32_t block_tokens;
  int32_t head_dim;
  int32_t num_queries;          // ≤ kQueryBlock
  const float* const* queries;  // [num_queries] → [head_dim]
  const int32_t* visible;       // [num_queries] keys of the chunk that the query sees, ≥ 1
  float scale;
  float* scores;  // scratch [num_queries, kChunkTokens]
  // Results a query: the largest score, the sum of exp(score - largest), and the values weighted by
  // those exponentials.
  float* largest;          // [num_queries]
  float* sum;              // [num_queries]
  float* const* weighted;  // [num_queries] → [head_dim]
};

struct Kernels {
  const char* name;

  // What the inputs of matmul carry as a factor (a power of two), and silu_multiply gives its
  // result.
  float input_scale;
  // Brings a row of FP8 weights into the order that matmul wants, once; null: they stay as stored.
  void (*pack_row)(uint8_t* row, int64_t columns);
  // out[t * out_stride + row - row_begin] = w[row] · x[t] / input_scale,
  // rows [row_begin, row_end), t < tokens.
  // scratch: matmul_scratch(w.columns) floats.
  void (*matmul)(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
                 int64_t tokens, float* out, int64_t out_stride, float* scratch);
  float (*sum_of_squares)(const float* x, int64_t n);
  // out = x * factor * weight
  void (*scale)(const float* x, float factor, const float* weight, int64_t n, float* out);
  // y += a * x
  void (*add_scaled)(float a, const float* x, int64_t n, float* y);
  // out = silu(gate) * up * input_scale
  void (*silu_multiply)(const float* gate, const float* up, int64_t n, float* out);
  void (*attend)(const AttendChunk& chunk);
  // n values of the KV cache, bf16 or FP8, as fp32; n is a multiple of 64.
  void (*widen)(DType type, const void* from, int64_t n, float* out);
  // out[i] = exp(x[i] - largest); returns the sum
  double (*exponentials)(const float* x, float largest, int64_t n, float* out);
};

// Floats of a block of scaled inputs: four whole rows, or a segment of kTokenBlock rows.
constexpr int64_t scaled_inputs(int64_t columns) {
  constexpr int64_t kSegments = int64_t{kTokenBlock} * (512 + 16);
  return 4 * (columns + 16) > kSegments ? 4 * (columns + 16) : kSegments;
}
// Floats of scratch that a matmul over `columns` wants: results, scaled inputs, and sums in up to
// 16 lanes, of every row and token of a block.
constexpr int64_t matmul_scratch(int64_t columns) {
  return scaled_inputs(columns) + int64_t{17} * kRowBlock * kTokenBlock;
}
// Rows to give one item of work, so that `threads` share `rows` evenly: whole groups of 8.
int64_t rows_an_item(int64_t rows, int32_t threads);

const Kernels& plain_kernels();
// The best that this machine runs.
const Kernels& fast_kernels();

}  // namespace m2
