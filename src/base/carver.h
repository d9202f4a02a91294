// Hands out consecutive arrays of one block of memory; with no base it only counts the bytes. So
// one function says what an object's buffers are, and is run twice: to size the block and to cut
// it.
//
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace m2 {

class Carver {
 public:
  // Every array begins at a multiple of `alignment` bytes from the base.
  Carver(std::byte* base, size_t alignment) : base_(base), alignment_(alignment) {}

  template <typename T>
  void take(T*& pointer, int64_t count) {
    pointer = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (count * sizeof(T) + alignment_ - 1) / alignment_ * alignment_;
  }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* const base_;
  const size_t alignment_;
  size_t bytes_ = 0;
};

}  // namespace m2
