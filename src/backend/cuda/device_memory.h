// Blocks of device and of pinned host memory, streams and events. Everything is
// allocated at construction of the ops.
//
// Thread-safety: none; the rank's thread uses them. The device that was current at allocation must
// be current at release.
#pragma once

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstddef>
#include <utility>

#include "backend/cuda/cuda_error.h"
#include "base/error.h"

namespace m2 {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Zeroed: what a kernel masks out it may still read, and NaN times zero is NaN.
  static Result<DeviceMemory> make(size_t bytes, const char* what) {
    DeviceMemory memory;
    const cudaError_t error = cudaMalloc(&memory.data_, bytes);
    if (error != cudaSuccess) {
      (void)cudaGetLastError();  // not sticky
      return fail(ErrorKind::kUnavailable, "", "the GPU refused {:.2f} GiB for {}: {}",
                  static_cast<double>(bytes) / 1073741824.0, what, cudaGetErrorString(error));
    }
    M2_TRY(cuda_status(cudaMemset(memory.data_, 0, bytes), "cudaMemset"));
    return memory;
  }
  ~DeviceMemory() { (void)cudaFree(data_); }
  DeviceMemory(DeviceMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
};

class PinnedMemory {
 public:
  PinnedMemory() = default;
  static Result<PinnedMemory> make(size_t bytes) {
    PinnedMemory memory;
    M2_TRY(cuda_status(cudaMallocHost(&memory.data_, bytes), "pinned host memory"));
    return memory;
  }
  // Of many bytes: in huge pages where the system grants them, and there before they are pinned.
  // The driver takes six times as long to make as many of its own.
  static Result<PinnedMemory> make_large(size_t bytes) {
    void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return make(bytes);
    constexpr size_t kPage = size_t{4} << 10;
    madvise(pages, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes; i += kPage) static_cast<volatile std::byte*>(pages)[i] = {};
    if (cudaHostRegister(pages, bytes, cudaHostRegisterDefault) != cudaSuccess) {
      (void)cudaGetLastError();  // not sticky
      munmap(pages, bytes);
      return make(bytes);
    }
    PinnedMemory memory;
    memory.data_ = pages, memory.mapped_bytes_ = bytes;
    return memory;
  }
  ~PinnedMemory() {
    if (mapped_bytes_ > 0) {
      (void)cudaHostUnregister(data_);
      munmap(data_, mapped_bytes_);
    } else {
      (void)cudaFreeHost(data_);
    }
  }
  PinnedMemory(PinnedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        mapped_bytes_(std::exchange(other.mapped_bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    return *this;
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
  size_t mapped_bytes_ = 0;  // of memory that is not the driver's
};

class Stream {
 public:
  Stream() = default;
  // Waits for no other stream, nor do others for it.
  static Result<Stream> make() {
    Stream stream;
    M2_TRY(
        cuda_status(cudaStreamCreateWithFlags(&stream.stream_, cudaStreamNonBlocking), "stream"));
    return stream;
  }
  ~Stream() {
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() = default;
  static Result<Event> make() {
    Event event;
    M2_TRY(cuda_status(cudaEventCreateWithFlags(&event.event_, cudaEventDisableTiming), "event"));
    return event;
  }
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }

  cudaError_t record(cudaStream_t stream) { return cudaEventRecord(event_, stream); }
  // Whether wait() would return at once, with whatever.
  bool done() const {
    if (cudaEventQuery(event_) != cudaErrorNotReady) return true;
    (void)cudaGetLastError();  // it says so there too
    return false;
  }
  cudaError_t wait() { return cudaEventSynchronize(event_); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace m2
