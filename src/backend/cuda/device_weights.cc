#include "backend/cuda/device_weights.h"

#include "backend/cuda/portable/random.cuh"
#include "base/check.h"

namespace m2 {
namespace {

constexpr size_t kAlignment = 256;

}  // namespace

Result<std::unique_ptr<DeviceWeights>> DeviceWeights::make(size_t bytes, int32_t device) {
  M2_TRY(cuda_status(cudaSetDevice(device), "cudaSetDevice"));
  std::unique_ptr<DeviceWeights> weights(new DeviceWeights(device));
  M2_ASSIGN(weights->memory_, DeviceMemory::make(bytes, "the weights"));
  // Before anything is copied: memory is zeroed on another stream.
  M2_TRY(cuda_status(cudaDeviceSynchronize(), "zeroing the weights"));
  return weights;
}

DeviceWeights::~DeviceWeights() {
  (void)cudaSetDevice(device_);
  (void)cudaDeviceSynchronize();  // loading may have failed with copies under way
}

Result<std::unique_ptr<DeviceWeights::Lane>> DeviceWeights::take_lane() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto lane = std::move(idle_.back());
      idle_.pop_back();
      return lane;
    }
  }
  auto lane = std::make_unique<Lane>();
  M2_ASSIGN(lane->stream, Stream::make());
  M2_ASSIGN(lane->stages, PinnedMemory::make_large(2 * kMostPieceBytes));
  for (Event& event : lane->copied) {
    M2_ASSIGN(event, Event::make());
  }
  return lane;
}

Status DeviceWeights::put(size_t offset, size_t bytes, const Fill& fill) {
  M2_CHECK(bytes <= kMostPieceBytes, "a piece of {} bytes", bytes);
  M2_TRY(cuda_status(cudaSetDevice(device_), "cudaSetDevice"));
  M2_ASSIGN(auto lane, take_lane());
  Status status = put(*lane, offset, bytes, fill);
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(lane));
  return status;
}

Status DeviceWeights::put(Lane& lane, size_t offset, size_t bytes, const Fill& fill) {
  if (lane.used + bytes > kMostPieceBytes) {
    M2_TRY(cuda_status(lane.copied[lane.current].record(lane.stream.get()), "event"));
    lane.current ^= 1;
    lane.used = 0;
    M2_TRY(cuda_status(lane.copied[lane.current].wait(), "copying the weights"));
  }
  std::byte* stage = lane.stages.data() + lane.current * kMostPieceBytes + lane.used;
  M2_TRY(fill(stage));
  lane.used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return cuda_status(cudaMemcpyAsync(memory_.data() + offset, stage, bytes, cudaMemcpyHostToDevice,
                                     lane.stream.get()),
                     "copying the weights");
}

Result<const std::byte*> DeviceWeights::device_pool(std::span<const std::byte> pool) {
  std::lock_guard lock(mutex_);
  auto& copy = pools_[pool.data()];
  if (copy.data() != nullptr) return copy.data();
  // The kernel reads whole words past the last element.
  M2_ASSIGN(copy, DeviceMemory::make(pool.size() + kAlignment, "random values"));
  M2_TRY(cuda_status(cudaMemcpy(copy.data(), pool.data(), pool.size(), cudaMemcpyHostToDevice),
                     "random values"));
  // The lanes' streams wait for no other.
  M2_TRY(cuda_status(cudaDeviceSynchronize(), "random values"));
  return copy.data();
}

Result<bool> DeviceWeights::put_runs(size_t offset, const RandomRuns& runs) {
  M2_TRY(cuda_status(cudaSetDevice(device_), "cudaSetDevice"));
  M2_ASSIGN(const std::byte* pool, device_pool(runs.pool));
  M2_ASSIGN(auto lane, take_lane());
  cuda::launch_random({.runs = runs, .pool = pool, .out = memory_.data() + offset},
                      {.stream = lane->stream.get()});
  const Status status = cuda_status(cudaPeekAtLastError(), "random weights");
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(lane));
  M2_TRY(status);
  return true;
}

Status DeviceWeights::finish() {
  M2_TRY(cuda_status(cudaSetDevice(device_), "cudaSetDevice"));
  for (const auto& lane : idle_) {
    M2_TRY(cuda_status(cudaStreamSynchronize(lane->stream.get()), "copying the weights"));
  }
  idle_.clear();
  pools_.clear();
  return {};
}

}  // namespace m2
