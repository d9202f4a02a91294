// Hands out consecutive arrays of one block of memory; with no base it only counts the bytes. So
// one function says what an object's buffers are, and is run twice: to size the block and to cut
// it.
//
// Thread-safety: one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

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

  // For what shares a place with other arrays, since no two are in use together: each part is cut
  // from here, and then the longest is taken.
  Carver part() const { return Carver(base_ == nullptr ? nullptr : base_ + bytes_, alignment_); }
  void take(std::initializer_list<Carver> parts) {
    size_t most = 0;
    for (const Carver& part : parts) most = std::max(most, part.bytes());
    bytes_ += most;
  }

 private:
  std::byte* const base_;
  const size_t alignment_;
  size_t bytes_ = 0;
};

}  // namespace m2
