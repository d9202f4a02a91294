// CUDA C++ for a compiler that has none of it: included ahead of a kernel's source, as nvcc
// includes headers of its own. Compute capability 9.0.
//
// What is not here no kernel has used yet.
#pragma once

#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "tests/backend/cuda/emulator/fault.h"
#include "tests/backend/cuda/emulator/launch.h"
#include "tests/backend/cuda/emulator/machine.h"

#define __CUDACC__ 1
#define __CUDA_ARCH__ 900

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __align__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static thread_local  // shared_memory.h

using std::isfinite;
using std::isnan;

template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __expf(float x) { return std::exp(x); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(unsigned bits) { return bits == 0 ? 0 : std::countr_zero(bits) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> shift % 32);
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}
template <typename T>
T __ldcg(const T* from) {
  return *from;
}
template <typename T>
T __ldcs(const T* from) {
  return *from;
}

// One thread of the host runs all: what it does between two waits is atomic.
template <typename T, typename U>
T atomicAdd(T* place, U x) {
  return std::exchange(*place, static_cast<T>(*place + x));
}
template <typename T>
T atomicCAS(T* place, T expected, T wanted) {
  return std::exchange(*place, *place == expected ? wanted : *place);
}
template <typename T, typename U>
T atomicMin(T* place, U x) {
  return std::exchange(*place, std::min<T>(*place, x));
}
// What comes of it concerns other blocks.
inline void __threadfence() { ::m2::emulator::machine().give_way_to_blocks(); }

inline void __syncthreads() { ::m2::emulator::machine().current().block->sync(); }
inline int __syncthreads_count(bool x) {
  return ::m2::emulator::machine().current().block->sync_and_count(x);
}

namespace m2::emulator {

template <typename T>
Slot slot_of(const T& x) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(Slot));
  Slot slot;
  std::memcpy(slot.bytes.data(), &x, sizeof(T));
  return slot;
}
template <typename T>
T value_of(const Slot& slot) {
  T x;
  std::memcpy(&x, slot.bytes.data(), sizeof(T));
  return x;
}

inline int32_t lane() { return machine().current().number % kWarpLanes; }

// What all lanes brought.
template <typename T>
const Slot* exchange(unsigned lanes, Collective kind, const T& x) {
  if (lanes != 0xffffffffu) fault("an operation of some lanes of a warp is not emulated");
  return machine().current().block->exchange(kind, slot_of(x));
}
// The lanes for which `is` is true of what they brought.
template <typename T, typename Is>
unsigned lanes_of(const Slot* slots, const Is& is) {
  unsigned lanes = 0;
  for (int32_t i = 0; i < kWarpLanes; ++i) lanes |= unsigned{is(value_of<T>(slots[i]))} << i;
  return lanes;
}

}  // namespace m2::emulator

inline void __syncwarp(unsigned lanes = 0xffffffffu) {
  using namespace ::m2::emulator;
  exchange(lanes, Collective::kSync, 0);
}
template <typename T>
T __shfl_sync(unsigned lanes, T x, int from) {
  using namespace ::m2::emulator;
  return value_of<T>(exchange(lanes, Collective::kShuffle, x)[from & (kWarpLanes - 1)]);
}
template <typename T>
T __shfl_xor_sync(unsigned lanes, T x, int mask) {
  return __shfl_sync(lanes, x, ::m2::emulator::lane() ^ mask);
}
template <typename T>
T __shfl_up_sync(unsigned lanes, T x, int distance) {
  const int lane = ::m2::emulator::lane();
  return __shfl_sync(lanes, x, lane < distance ? lane : lane - distance);
}
inline unsigned __ballot_sync(unsigned lanes, bool x) {
  using namespace ::m2::emulator;
  return lanes_of<bool>(exchange(lanes, Collective::kVote, x), [](bool other) { return other; });
}
template <typename T>
unsigned __match_any_sync(unsigned lanes, T x) {
  using namespace ::m2::emulator;
  return lanes_of<T>(exchange(lanes, Collective::kMatch, x), [&](T other) { return other == x; });
}
