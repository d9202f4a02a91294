// A barrier in shared memory (mbarrier), in the 8 bytes that a kernel gives it: a phase ends when
// as many threads have come as it was made for and all bytes that were announced have landed.
//
// Thread-safety: none.
#pragma once

#include <cstdint>

namespace m2::emulator {

class MemoryBarrier {
 public:
  static constexpr uint32_t kMostThreads = (1u << 12) - 1;
  explicit MemoryBarrier(uint32_t threads)
      : made_(kMade), phase_(0), threads_(threads), missing_(threads), bytes_(0) {}
  // Of what a kernel gave; a fault where no barrier was made.
  static MemoryBarrier& at(uint64_t* place);

  bool ended(uint32_t parity) const { return phase_ != (parity & 1); }
  // True: the phase ends with it.
  bool arrive(int64_t expected_bytes);
  bool land(int64_t bytes);

 private:
  static constexpr uint64_t kMade = 0x5b;
  bool end_if_complete();

  uint64_t made_ : 7, phase_ : 1, threads_ : 12, missing_ : 12;
  int64_t bytes_ : 32;  // announced, and not landed; less than none where copies were faster
};
static_assert(sizeof(MemoryBarrier) == sizeof(uint64_t));

}  // namespace m2::emulator
