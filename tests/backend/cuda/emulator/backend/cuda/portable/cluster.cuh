// In place of the header of this name in src: what is sent lands when it will (cluster.h).
#pragma once

#include "backend/cuda/portable/bulk_copy.cuh"

#ifdef __CUDACC__

namespace m2::cuda {

inline void arrive_cluster() { emulator::machine().current().block->cluster().arrive(); }
inline void wait_cluster() { emulator::machine().current().block->cluster().wait(); }
inline void expect_from_cluster(uint64_t* barrier, uint32_t bytes) {
  if (threadIdx.x > 0) return;
  init_barrier(barrier, 1);
  fence_barriers();
  expect_bytes(barrier, bytes);
}
template <typename T>
void send_cluster(T* place, const T& x, uint64_t* barrier, int32_t rank) {
  emulator::machine().current().block->cluster().send(rank, place, std::as_bytes(std::span(&x, 1)),
                                                      barrier);
}

}  // namespace m2::cuda

#endif
