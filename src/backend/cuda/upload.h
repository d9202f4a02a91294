// Host arrays that a step brings to the device: filled in one of two pinned blocks, so that the
// next step can be written while the last one's is still to be read. There is no event here: one
// right behind the kernel that reads would keep the next kernel from starting early.
//
// Thread-safety: the rank's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/portable/upload.cuh"
#include "base/check.h"

namespace m2 {

class Upload {
 public:
  Upload() = default;
  static Result<Upload> make(size_t bytes) {
    Upload upload;
    upload.bytes_ = (bytes + sizeof(uint4) - 1) / sizeof(uint4) * sizeof(uint4);
    M2_ASSIGN(upload.device_, DeviceMemory::make(upload.bytes_, "a step's inputs"));
    for (PinnedMemory& host : upload.host_) {
      M2_ASSIGN(host, PinnedMemory::make(upload.bytes_));
    }
    return upload;
  }

  // The block to fill: the one before the last, of which the caller knows that it has been read.
  std::byte* begin() {
    current_ ^= 1;
    args_ = {};
    args_.from = reinterpret_cast<const uint4*>(host_[current_].data());
    args_.to = reinterpret_cast<uint4*>(device_.data());
    return host_[current_].data();
  }
  // Of an array in the block so many elements are used. Arrays begin at multiples of 16 bytes.
  template <typename T>
  void use(const T* array, size_t count) {
    const auto* first = reinterpret_cast<const std::byte*>(array);
    const auto begin = static_cast<size_t>(first - host_[current_].data());
    const size_t end = begin + count * sizeof(T);
    M2_CHECK(begin % sizeof(uint4) == 0 && end <= bytes_, "bytes {} to {} of {} are no array",
             begin, end, bytes_);
    if (count == 0) return;
    M2_CHECK(args_.num_ranges < cuda::kMostUploadRanges, "more than {} arrays", args_.num_ranges);
    args_.ranges[args_.num_ranges++] = {
        static_cast<int32_t>(begin / sizeof(uint4)),
        static_cast<int32_t>((end + sizeof(uint4) - 1) / sizeof(uint4))};
  }
  // What is used, to the same places of device().
  cudaError_t send(const cuda::Queue& queue) {
    cuda::launch_upload(args_, queue);
    return cudaPeekAtLastError();
  }
  std::byte* device() const { return device_.data(); }

 private:
  size_t bytes_ = 0;
  DeviceMemory device_;
  std::array<PinnedMemory, 2> host_;
  cuda::UploadArgs args_;
  int current_ = 0;
};

}  // namespace m2
