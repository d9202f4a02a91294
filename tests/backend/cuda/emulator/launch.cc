#include "tests/backend/cuda/emulator/launch.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "tests/backend/cuda/emulator/stream.h"

namespace {

constexpr size_t kSharedBytes = size_t{48} << 10, kMostSharedBytes = size_t{227} << 10;
constexpr unsigned kMostThreads = 1024, kMostClusterBlocks = 8;
constexpr int kGeneration = 90;

cudaError_t last_error = cudaSuccess;

cudaError_t refused(cudaError_t error) { return last_error = error; }

// What kernels were allowed.
class Allowances {
 public:
  void set(const void* kernel, size_t bytes) {
    const std::scoped_lock lock(mutex_);
    bytes_[kernel] = bytes;
  }
  size_t of(const void* kernel) {
    const std::scoped_lock lock(mutex_);
    const auto found = bytes_.find(kernel);
    return found == bytes_.end() ? kSharedBytes : std::max(kSharedBytes, found->second);
  }

 private:
  std::mutex mutex_;
  std::map<const void*, size_t> bytes_;
};
Allowances allowances;

}  // namespace

cudaError_t m2::emulator::enqueue(const cudaLaunchConfig_t& config, const void* kernel,
                                  std::function<void()> body) {
  const auto size = [](dim3 shape) { return size_t{shape.x} * shape.y * shape.z; };
  if (size(config.gridDim) == 0 || size(config.blockDim) == 0 ||
      size(config.blockDim) > kMostThreads) {
    return refused(cudaErrorInvalidConfiguration);
  }
  if (config.dynamicSmemBytes > allowances.of(kernel)) return refused(cudaErrorInvalidValue);
  Launch launch{config.gridDim,          config.blockDim, {1, 1, 1},
                config.dynamicSmemBytes, false,           std::move(body)};
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttributeValue& value = config.attrs[i].val;
    switch (config.attrs[i].id) {
      case cudaLaunchAttributeProgrammaticStreamSerialization:
        launch.overlap = value.programmaticStreamSerializationAllowed != 0;
        break;
      case cudaLaunchAttributeClusterDimension:
        launch.cluster = {value.clusterDim.x, value.clusterDim.y, value.clusterDim.z};
        break;
      default:
        return refused(cudaErrorInvalidValue);
    }
  }
  const dim3 grid = launch.blocks, cluster = launch.cluster;
  if (size(cluster) == 0 || size(cluster) > kMostClusterBlocks || grid.x % cluster.x != 0 ||
      grid.y % cluster.y != 0 || grid.z % cluster.z != 0) {
    return refused(cudaErrorInvalidConfiguration);
  }
  config.stream->enqueue(std::make_shared<const Launch>(std::move(launch)));
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > kMostSharedBytes) {
    return refused(cudaErrorInvalidValue);
  }
  allowances.set(kernel, static_cast<size_t>(value));
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->ptxVersion = attributes->binaryVersion = kGeneration;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          size_t shared_bytes) {
  constexpr size_t kThreads = 2048, kBytes = size_t{228} << 10, kReserved = size_t{1} << 10;
  *blocks = static_cast<int>(
      std::min(kThreads / static_cast<size_t>(threads), kBytes / (shared_bytes + kReserved)));
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    default:
      return "another CUDA error";
  }
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
