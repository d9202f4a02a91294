// In place of the header of this name in src: copies land when they will (copies.h).
#pragma once

#include <new>

#include "backend/cuda/portable/device.cuh"

#ifdef __CUDACC__

#include "tests/backend/cuda/emulator/memory_barrier.h"

namespace m2::cuda {

inline constexpr bool kBulkCopies = true;

inline void init_barrier(uint64_t* barrier, uint32_t count) {
  new (barrier) emulator::MemoryBarrier(count);
}
inline void fence_barriers() {}
inline void arrive(uint64_t* barrier) {
  emulator::machine().current().block->arrive(barrier, 0);
  emulator::machine().may_give_way();
}
inline void arrive_when_copied(uint64_t* barrier) {
  emulator::Thread& thread = emulator::machine().current();
  thread.block->copies().arrive_after(thread.number, barrier);
  emulator::machine().may_give_way();
}
inline void expect_bytes(uint64_t* barrier, uint32_t bytes) {
  emulator::machine().current().block->arrive(barrier, bytes);
  emulator::machine().may_give_way();
}
inline void wait_barrier(uint64_t* barrier, uint32_t parity) {
  emulator::machine().current().block->wait(barrier, parity);
}
inline uint64_t passing_through() { return 0; }
inline void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier,
                      uint64_t policy = 0) {
  emulator::machine().current().block->copies().begin_bulk(to, from, bytes, barrier);
  emulator::machine().may_give_way();
}
inline void fence_copies() {}

}  // namespace m2::cuda

#endif
