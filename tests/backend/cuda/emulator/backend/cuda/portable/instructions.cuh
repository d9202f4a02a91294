// In place of the header of this name in src: what its instructions do, in C++.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>

#ifdef __CUDACC__

#include "tests/backend/cuda/emulator/tensor_core.h"

#define M2_DYNAMIC_SHARED(type, alignment, name) \
  auto* name = reinterpret_cast<type*>(emulator::machine().current().block->memory().dynamic())

namespace m2::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

inline void wait_for_previous() { emulator::machine().wait_for_previous(); }
inline void let_next_start() { emulator::machine().let_next_start(); }
inline float load_ahead(const float* from) { return *from; }
inline float4 load_ahead(const float4* from) { return *from; }
inline uint4 load_host(const uint4* from) { return *from; }
inline uint64_t device_time() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What is discarded is gone.
inline void discard_line(const void* line) {
  constexpr size_t kBytes = 128;
  if (reinterpret_cast<uintptr_t>(line) % kBytes != 0) emulator::fault("no line begins here");
  std::memset(const_cast<void*>(line), 0xff, kBytes);
}

inline float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
inline float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
inline uint32_t pack_bf16(float low, float high) {
  return emulator::to_bf16(low) | emulator::to_bf16(high) << 16;
}
inline uint32_t pack_f16(float low, float high) {
  constexpr float kLargest = 65504.0f;
  return emulator::to_f16(fminf(fmaxf(low, -kLargest), kLargest)) |
         emulator::to_f16(fminf(fmaxf(high, -kLargest), kLargest)) << 16;
}
inline float power_of_two(float x) { return std::exp2(x); }

template <bool kF16 = false>
void mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
         uint32_t b1) {
  emulator::multiply<kF16>(d, {a0, a1, a2, a3, b0, b1});
}

inline uint32_t widen_low(uint32_t four) { return emulator::e4m3_to_f16(four & 0xffff); }
inline uint32_t widen_high(uint32_t four) { return emulator::e4m3_to_f16(four >> 16); }
inline uint32_t widen_bf16_low(uint32_t four) { return emulator::e4m3_to_bf16(four & 0xffff); }
inline uint32_t widen_bf16_high(uint32_t four) { return emulator::e4m3_to_bf16(four >> 16); }

inline uint32_t warp_max(uint32_t x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x = max(x, __shfl_xor_sync(kAllLanes, x, distance));
  }
  return x;
}
inline uint32_t warp_min(uint32_t x) { return ~warp_max(~x); }

}  // namespace m2::cuda

#endif
