// Philox4x32-10 as a pure function of (key, counter): a draw depends on the request's seed and the
// token's position alone, and is the CPU's, bit for bit.
#pragma once

#include <cstdint>

namespace m2::cuda {

#ifdef __CUDACC__

// Uniform in [0, 1), 53 bits.
__device__ inline double philox_uniform(uint64_t key, uint64_t counter) {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t high_a = __umulhi(0xD2511F53u, c0), low_a = 0xD2511F53u * c0;
    const uint32_t high_b = __umulhi(0xCD9E8D57u, c2), low_b = 0xCD9E8D57u * c2;
    c0 = high_b ^ c1 ^ k0;
    c1 = low_b;
    c2 = high_a ^ c3 ^ k1;
    c3 = low_a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return static_cast<double>((uint64_t{c0} << 21) ^ (c1 >> 11)) * 0x1p-53;
}

#endif

}  // namespace m2::cuda
