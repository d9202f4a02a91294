// A matrix made of short runs, each copied from a random place of one pool of values: what random
// weights are made of (loader/dummy.h), on the host or by a device that is told the same.
//
// Thread-safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace m2 {

// The finaliser of splitmix64: a counter in, 64 random bits out.
constexpr uint64_t mix_bits(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The part [row_count, column_count] of a tensor whose rows have `columns` elements. Its element e,
// counted from the tensor's first, is pool[place(key, e / kRun) + e % kRun].
struct RandomRuns {
  static constexpr int64_t kRun = 64;  // ranks cut at multiples of 64: whole runs
  static constexpr int64_t kPlaces = 1 << 16;

  uint64_t key = 0;  // of the tensor
  std::span<const std::byte>
      pool{};  // [kPlaces + kRun] elements, the same until the block's finish()
  int64_t element_bytes = 1;
  int64_t columns = 0;
  int64_t row_begin = 0, row_count = 0, column_begin = 0, column_count = 0;

  static constexpr int64_t place(uint64_t key, int64_t run) {
    return static_cast<int64_t>(mix_bits(key + static_cast<uint64_t>(run)) % kPlaces);
  }
  bool whole() const {
    return columns % kRun == 0 && column_begin % kRun == 0 && column_count % kRun == 0;
  }
};

}  // namespace m2
