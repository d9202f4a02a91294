#include "tests/backend/cuda/emulator/memory_barrier.h"

#include "tests/backend/cuda/emulator/fault.h"

namespace m2::emulator {

MemoryBarrier& MemoryBarrier::at(uint64_t* place) {
  auto& barrier = *reinterpret_cast<MemoryBarrier*>(place);
  if (barrier.made_ != kMade) fault("a barrier in shared memory is used before it is made");
  return barrier;
}

bool MemoryBarrier::arrive(int64_t expected_bytes) {
  if (missing_ == 0) fault("more threads come to a barrier in shared memory than it was made for");
  bytes_ += expected_bytes;
  --missing_;
  return end_if_complete();
}

bool MemoryBarrier::land(int64_t bytes) {
  bytes_ -= bytes;
  return end_if_complete();
}

bool MemoryBarrier::end_if_complete() {
  if (missing_ != 0 || bytes_ != 0) return false;
  phase_ ^= 1;
  missing_ = threads_;
  return true;
}

}  // namespace m2::emulator
