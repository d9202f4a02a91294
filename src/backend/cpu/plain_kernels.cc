// The kernels in their plainest form: what the fast ones are tested against. Dot products and sums
// in double, in index order.
#include <algorithm>
#include <array>
#include <cmath>

#include "backend/cpu/kernels.h"
#include "base/dtype.h"

namespace m2 {
namespace {

std::array<float, 256> make_f8_table() {
  std::array<float, 256> table{};
  for (int i = 0; i < 256; ++i) table[i] = f8_to_float(static_cast<f8_t>(i));
  return table;
}

float weight_at(const Matrix& w, int64_t row, int64_t column) {
  static const std::array<float, 256> f8_values = make_f8_table();
  const int64_t index = row * w.columns + column;
  switch (w.dtype) {
    case DType::kF32:
      return static_cast<const float*>(w.data)[index];
    case DType::kBF16:
      return bf16_to_float(static_cast<const bf16_t*>(w.data)[index]);
    default: {
      const float scale = w.scales[row / kScaleTile * scale_tiles(w.columns) + column / kScaleTile];
      return f8_values[static_cast<const f8_t*>(w.data)[index]] * scale;
    }
  }
}

void matmul(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
            int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  float* weights = scratch;
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t i = 0; i < w.columns; ++i) weights[i] = weight_at(w, row, i);
    for (int64_t t = 0; t < tokens; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < w.columns; ++i) sum += double{weights[i]} * x[t][i];
      out[t * out_stride + row - row_begin] = static_cast<float>(sum);
    }
  }
}

float sum_of_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  return static_cast<float>(sum);
}

void scale(const float* x, float factor, const float* weight, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

void add_scaled(float a, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void silu_multiply(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void attend(const AttendChunk& c) {
  for (int32_t i = 0; i < c.num_queries; ++i) {
    float* scores = c.scores + int64_t{i} * kChunkTokens;
    float largest = -INFINITY;
    for (int32_t j = 0; j < c.visible[i]; ++j) {
      const float* key = c.keys[j / c.block_tokens] + int64_t{j % c.block_tokens} * c.head_dim;
      double dot = 0;
      for (int32_t d = 0; d < c.head_dim; ++d) dot += double{c.queries[i][d]} * key[d];
      scores[j] = static_cast<float>(dot) * c.scale;
      largest = std::max(largest, scores[j]);
    }
    double sum = 0;
    std::fill_n(c.weighted[i], c.head_dim, 0.0f);
    for (int32_t j = 0; j < c.visible[i]; ++j) {
      const float* value = c.values[j / c.block_tokens] + int64_t{j % c.block_tokens} * c.head_dim;
      const float p = std::exp(scores[j] - largest);
      sum += p;
      for (int32_t d = 0; d < c.head_dim; ++d) c.weighted[i][d] += p * value[d];
    }
    c.largest[i] = largest;
    c.sum[i] = static_cast<float>(sum);
  }
}

void widen(DType type, const void* from, int64_t n, float* out) {
  if (type == DType::kBF16) {
    std::transform(static_cast<const bf16_t*>(from), static_cast<const bf16_t*>(from) + n, out,
                   bf16_to_float);
  } else {
    std::transform(static_cast<const f8_t*>(from), static_cast<const f8_t*>(from) + n, out,
                   f8_to_float);
  }
}

double exponentials(const float* x, float largest, int64_t n, float* out) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = std::exp(x[i] - largest);
    sum += out[i];
  }
  return sum;
}

}  // namespace

const Kernels& plain_kernels() {
  static constexpr Kernels kernels{.name = "plain",
                                   .input_scale = 1.0f,
                                   .pack_row = nullptr,
                                   .matmul = matmul,
                                   .sum_of_squares = sum_of_squares,
                                   .scale = scale,
                                   .add_scaled = add_scaled,
                                   .silu_multiply = silu_multiply,
                                   .attend = attend,
                                   .widen = widen,
                                   .exponentials = exponentials};
  return kernels;
}

}  // namespace m2
