// The device as the CUDA runtime describes it, and its memory, which is the host's.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace {

constexpr size_t kTotalBytes = size_t{4} << 30, kAlignment = 256;
constexpr int kMajor = 9, kMinor = 0;
constexpr size_t kMostSharedBytes = size_t{227} << 10;

// Few, so that blocks of small shapes have much to do.
int multiprocessors() {
  const char* text = std::getenv("M2_EMULATOR_MULTIPROCESSORS");
  return text == nullptr ? 6 : std::max(1, std::atoi(text));
}

class Memory {
 public:
  // Of bytes of 0xff: what is read must have been written.
  void* take(size_t bytes) {
    const std::scoped_lock lock(mutex_);
    if (bytes > kTotalBytes - taken_) return nullptr;
    const size_t whole = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    void* memory = std::aligned_alloc(kAlignment, whole);
    std::memset(memory, 0xff, whole);
    sizes_[memory] = bytes;
    taken_ += bytes;
    return memory;
  }
  void give_back(void* memory) {
    const std::scoped_lock lock(mutex_);
    const auto found = sizes_.find(memory);
    if (found == sizes_.end()) return;
    taken_ -= found->second;
    sizes_.erase(found);
    std::free(memory);
  }
  bool holds(const void* place) {
    const std::scoped_lock lock(mutex_);
    auto after = sizes_.upper_bound(const_cast<void*>(place));
    if (after == sizes_.begin()) return false;
    const auto& [begin, bytes] = *--after;
    return static_cast<const char*>(place) < static_cast<const char*>(begin) + bytes;
  }
  size_t left() {
    const std::scoped_lock lock(mutex_);
    return kTotalBytes - taken_;
  }

 private:
  std::mutex mutex_;
  std::map<void*, size_t> sizes_;
  size_t taken_ = 0;
};
Memory memory;

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }  // waits for no stream of ours
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "emulated GPU");
  properties->major = kMajor;
  properties->minor = kMinor;
  properties->multiProcessorCount = multiprocessors();
  properties->totalGlobalMem = kTotalBytes;
  properties->sharedMemPerBlockOptin = kMostSharedBytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = kMajor;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = kMinor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kMostSharedBytes;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = multiprocessors();
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char*, int, int) { return cudaErrorInvalidDevice; }
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaMalloc(void** place, size_t bytes) {
  *place = memory.take(bytes);
  return *place == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFree(void* place) {
  memory.give_back(place);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** place, size_t bytes) {
  *place = std::malloc(bytes);
  return *place == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* place) {
  std::free(place);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = memory.left();
  *total = kTotalBytes;
  return cudaSuccess;
}
cudaError_t cudaMemset(void* place, int value, size_t bytes) {
  std::memset(place, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* place) {
  *attributes = {};
  attributes->type = memory.holds(place) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}
