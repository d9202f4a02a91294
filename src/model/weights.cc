#include "model/weights.h"

#include <sys/mman.h>

#include <utility>

#include "model/layout.h"

namespace m2 {
namespace {

Matrix matrix_at(const Place& place, const std::byte* base) {
  Matrix matrix{.data = base + place.offset,
                .scales = nullptr,
                .dtype = place.dtype,
                .rows = place.rows,
                .columns = place.columns,
                .count = place.count};
  if (place.dtype == DType::kF8E4M3) {
    matrix.scales = reinterpret_cast<const float*>(base + place.scale_offset);
  }
  return matrix;
}

const float* floats_at(const Place& place, const std::byte* base) {
  return reinterpret_cast<const float*>(base + place.offset);
}

}  // namespace

size_t weights_bytes(const ModelConfig& config, const Shard& shard) {
  return make_layout(config, shard).bytes;
}

Weights weights_at(const ModelConfig& config, const Shard& shard, const void* base) {
  const auto* bytes = static_cast<const std::byte*>(base);
  const WeightsLayout layout = make_layout(config, shard);
  Weights weights;
  weights.embed = matrix_at(layout.embed, bytes);
  for (const LayerLayout& place : layout.layers) {
    LayerWeights& layer = weights.layers.emplace_back();
    layer.input_norm = floats_at(place.input_norm, bytes);
    layer.qkv = matrix_at(place.qkv, bytes);
    layer.q_norm = floats_at(place.q_norm, bytes);
    layer.k_norm = floats_at(place.k_norm, bytes);
    layer.o_proj = matrix_at(place.o_proj, bytes);
    layer.post_norm = floats_at(place.post_norm, bytes);
    layer.gate = floats_at(place.gate, bytes);
    layer.gate_bias = floats_at(place.gate_bias, bytes);
    layer.gate_up = matrix_at(place.gate_up, bytes);
    layer.down = matrix_at(place.down, bytes);
  }
  weights.final_norm = floats_at(layout.final_norm, bytes);
  weights.lm_head = matrix_at(layout.lm_head, bytes);
  return weights;
}

HostMemory::HostMemory(size_t bytes) {
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  // Decode reads all of it every step: with small pages the walk of page tables shows.
  madvise(memory, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(memory);
  bytes_ = bytes;
}

HostMemory::~HostMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

HostMemory::HostMemory(HostMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace m2
