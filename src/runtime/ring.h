// A queue of fixed size that never allocates. For the few plans and results that are under way at
// once: a full one is a programmer fault, not load.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace m2 {

template <typename T, size_t kCapacity>
class Ring {
 public:
  bool empty() const { return size_ == 0; }
  // The place for a new last element; what an element left there before is still in it.
  T& push() {
    M2_CHECK(size_ < kCapacity, "more than {} under way", kCapacity);
    return items_[(first_ + size_++) % kCapacity];
  }
  // All places, in use or not: to give them their memory at the start.
  std::array<T, kCapacity>& places() { return items_; }
  T& front() { return items_[first_]; }
  void pop() {
    first_ = (first_ + 1) % kCapacity;
    --size_;
  }

 private:
  std::array<T, kCapacity> items_{};
  size_t first_ = 0, size_ = 0;
};

}  // namespace m2
