// In place of the header of this name in src: copies land when they will (copies.h).
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

constexpr int32_t ring_stages(int32_t most, bool async_copies) { return async_copies ? most : 2; }

#ifdef __CUDACC__

inline constexpr bool kAsyncCopies = true;

inline void copy_async(void* to, const void* from) {
  emulator::Thread& thread = emulator::machine().current();
  thread.block->copies().begin(thread.number, to, from);
}
inline void copy_or_zero(void* to, const void* from, bool here) {
  copy_async(to, here ? from : nullptr);
}
inline void commit_copies() {
  emulator::Thread& thread = emulator::machine().current();
  thread.block->copies().commit(thread.number);
  emulator::machine().may_give_way();
}
template <int32_t kLeft>
void wait_copies() {
  emulator::Thread& thread = emulator::machine().current();
  thread.block->copies().wait(thread.number, kLeft);
}

#endif

}  // namespace m2::cuda
