#include "loader/dummy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "loader/pieces.h"
#include "model/random_runs.h"
#include "model/weights.h"

namespace m2 {
namespace {

// One random stream a tensor: 64 bits at each index.
class Stream {
 public:
  // By name, not by order: a model with more layers keeps the values of the first ones.
  Stream(uint64_t seed, std::string_view name) : key_(mix_bits(seed + 1)) {
    for (const char c : name) key_ = mix_bits(key_ ^ static_cast<unsigned char>(c));
  }
  uint64_t at(uint64_t index) const { return mix_bits(key_ + index); }
  uint64_t key() const { return key_; }

 private:
  uint64_t key_;
};

// The middle of the index-th of 256 equally likely parts of the standard normal distribution.
float normal_quantile(int index) {
  const double wanted = (index + 0.5) / 256;
  double low = -8, high = 8;
  for (int step = 0; step < 60; ++step) {  // bisection: exact enough on every machine
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < wanted ? low : high) = middle;
  }
  return static_cast<float>((low + high) / 2);
}

using Table = std::array<float, 256>;

Table normal_quantiles() {
  Table table;
  for (int i = 0; i < 256; ++i) table[i] = normal_quantile(i);
  return table;
}

// Normal values, rounded to the element type once. A matrix is made of runs of them, each from a
// random place: copying is what makes hundreds of gigabytes bearable, and runs that repeat, here
// and there, in other rows leave the rows as good as independent.
template <typename T>
class Pool {
 public:
  Pool(double spread, T (*round)(float), float (*widen)(T))
      : values_(RandomRuns::kPlaces + RandomRuns::kRun) {
    const Table table = normal_quantiles();
    const Stream stream(0, "pool");
    double squares = 0;
    for (uint64_t i = 0; i < values_.size(); ++i) {
      values_[i] = round(static_cast<float>(table[stream.at(i) & 255] * spread));
      squares += std::pow(widen(values_[i]), 2);
    }
    deviation_ = std::sqrt(squares / static_cast<double>(values_.size()));
  }

  double deviation() const { return deviation_; }  // of the rounded values

  // The whole tensor's elements [first, first + count).
  void fill(const Stream& stream, int64_t first, int64_t count, T* out) const {
    constexpr int64_t kRun = RandomRuns::kRun;
    for (const int64_t end = first + count; first < end;) {
      const int64_t inside = first % kRun, length = std::min(kRun - inside, end - first);
      const T* run = values_.data() + RandomRuns::place(stream.key(), first / kRun);
      out = std::copy_n(run + inside, length, out);
      first += length;
    }
  }

  void fill(const Stream& stream, const TensorSlice& slice, std::byte* out) const {
    for (int64_t row = 0; row < slice.row_count; ++row) {
      const int64_t first = (slice.row_begin + row) * slice.columns + slice.column_begin;
      fill(stream, first, slice.column_count, reinterpret_cast<T*>(out) + row * slice.column_count);
    }
  }

  RandomRuns runs(const Stream& stream, const TensorSlice& slice) const {
    return {.key = stream.key(),
            .pool = std::as_bytes(std::span(values_)),
            .element_bytes = sizeof(T),
            .columns = slice.columns,
            .row_begin = slice.row_begin,
            .row_count = slice.row_count,
            .column_begin = slice.column_begin,
            .column_count = slice.column_count};
  }

 private:
  std::vector<T> values_;
  double deviation_ = 0;
};

// centre + deviation * normal, smooth enough for the router: four quantiles make one value.
void fill_floats(const TensorSlice& slice, const Stream& stream, float centre, float deviation,
                 float* out) {
  static const Table quantiles = normal_quantiles();
  for (int64_t row = 0; row < slice.row_count; ++row) {
    const uint64_t first = (slice.row_begin + row) * slice.columns + slice.column_begin;
    for (int64_t i = 0; i < slice.column_count; ++i) {
      const uint64_t bits = stream.at(first + i);
      float sum = 0;
      for (int k = 0; k < 4; ++k) sum += quantiles[(bits >> (8 * k)) & 255];
      *out++ = centre + deviation * 0.5f * sum;
    }
  }
}

// Scales differ from block to block, by up to a quarter, so that a scale taken from the wrong block
// shows; their mean square is 1 before the gain.
void fill_scales(const TensorSlice& slice, const Stream& stream, double gain, float* out) {
  const int64_t blocks_a_row = (slice.columns + kFp8BlockSize - 1) / kFp8BlockSize;
  const double mean_square = 1 + 0.0625 / 3;  // of 1 + uniform(-1/4, 1/4)
  for (int64_t i = 0; i < scale_tiles(slice.row_count); ++i) {
    const int64_t row = (slice.row_begin + kScaleTile * i) / kFp8BlockSize;
    for (int64_t j = 0; j < scale_tiles(slice.column_count); ++j) {
      const int64_t column = (slice.column_begin + kScaleTile * j) / kFp8BlockSize;
      const double uniform = static_cast<double>(stream.at(row * blocks_a_row + column) >> 11) /
                             static_cast<double>(1ull << 53);
      *out++ = static_cast<float>(gain * (0.75 + 0.5 * uniform) / std::sqrt(mean_square));
    }
  }
}

void fill_fp32(const TensorSlice& slice, const Stream& stream, float* out) {
  const std::string_view name = slice.name;
  if (name.ends_with("e_score_correction_bias")) return fill_floats(slice, stream, 0, 0.01f, out);
  if (name.ends_with("norm.weight")) return fill_floats(slice, stream, 1, 0.1f, out);
  const double inputs = static_cast<double>(slice.columns);
  fill_floats(slice, stream, 0, static_cast<float>(1 / std::sqrt(inputs)), out);
}

// What the elements of a bf16 matrix sum over. A row of the embedding is an output of size 1 by
// itself: it sums over nothing.
int64_t inputs_of(const TensorSlice& slice) {
  return slice.name.ends_with("embed_tokens.weight") ? 1 : slice.columns;
}

Pool<bf16_t> bf16_pool(int64_t inputs) {
  return {1 / std::sqrt(static_cast<double>(inputs)), float_to_bf16, bf16_to_float};
}

bool is_bf16(const TensorSlice& slice, bool fp8) {
  return slice.format == SliceFormat::kBF16 || (slice.format == SliceFormat::kQuantised && !fp8);
}

// Spread over most of e4m3's range (the largest of 256 quantiles is 2.9 deviations), as a quantised
// checkpoint's blocks are.
const Pool<f8_t>& f8_pool() {
  static const Pool<f8_t> pool(150, float_to_f8, f8_to_float);
  return pool;
}

}  // namespace

void fill_dummy_elements(const TensorSlice& slice, bool fp8, uint64_t seed, std::byte* out) {
  const Stream stream(seed, slice.name);
  if (slice.format == SliceFormat::kF32) {
    return fill_fp32(slice, stream, reinterpret_cast<float*>(out));
  }
  if (is_bf16(slice, fp8)) return bf16_pool(inputs_of(slice)).fill(stream, slice, out);
  f8_pool().fill(stream, slice, out);
}

void fill_dummy_scales(const TensorSlice& slice, uint64_t seed, float* out) {
  const double gain = 1 / (f8_pool().deviation() * std::sqrt(static_cast<double>(slice.columns)));
  fill_scales(slice, Stream(seed, slice.name + "_scale_inv"), gain, out);
}

Status fill_dummy(const ModelConfig& config, const Shard& shard, uint64_t seed, int threads,
                  WeightBlock& weights) {
  const std::vector<TensorSlice> slices = tensor_slices(config, shard);
  // A pool takes longer to make than a piece to fill.
  std::map<int64_t, Pool<bf16_t>> pools;
  for (const TensorSlice& slice : slices) {
    if (!is_bf16(slice, config.fp8()) || pools.contains(inputs_of(slice))) continue;
    pools.emplace(inputs_of(slice), bf16_pool(inputs_of(slice)));
  }
  // A matrix is made where it will be, if the block can.
  const auto put_matrix = [&](const TensorSlice& slice, size_t bytes, const auto& pool) -> Status {
    const Stream stream(seed, slice.name);
    const RandomRuns runs = pool.runs(stream, slice);
    bool made = false;
    if (runs.whole()) {
      M2_ASSIGN(made, weights.put_runs(slice.offset, runs));
    }
    if (made) return {};
    return weights.put(slice.offset, bytes, [&](std::byte* to) -> Status {
      pool.fill(stream, slice, to);
      return {};
    });
  };
  const Status put = put_slices(
      slices, config, threads, weights,
      [&](const TensorSlice& slice, size_t bytes) -> Status {
        if (slice.format == SliceFormat::kF32) {
          return weights.put(slice.offset, bytes, [&](std::byte* to) -> Status {
            fill_fp32(slice, Stream(seed, slice.name), reinterpret_cast<float*>(to));
            return {};
          });
        }
        if (!is_bf16(slice, config.fp8())) return put_matrix(slice, bytes, f8_pool());
        return put_matrix(slice, bytes, pools.at(inputs_of(slice)));
      },
      [&](const TensorSlice& slice, float* to) -> Status {
        fill_dummy_scales(slice, seed, to);
        return {};
      });
  M2_TRY(put);
  return weights.finish();  // the pools end here
}

}  // namespace m2
