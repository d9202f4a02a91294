// Numbers that look random and come again from the same seed (xorshift64*): several for each change
// of threads, so they have to be cheap.
#pragma once

#include <cstdint>

namespace m2::emulator {

class Chance {
 public:
  explicit Chance(uint32_t seed) : state_(0x9e3779b97f4a7c15u * (seed + 1ull)) {}

  uint32_t bits() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>(state_ * 0x2545f4914f6cdd1du >> 32);
  }
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(uint64_t{bits()} * end >> 32); }
  bool one_in(uint32_t times) { return below(times) == 0; }

 private:
  uint64_t state_;
};

}  // namespace m2::emulator
