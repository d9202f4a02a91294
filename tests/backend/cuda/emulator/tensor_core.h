// A warp's tensor core and the formats it takes: exact products, sums of each instruction in
// double.
#pragma once

#include <array>
#include <cstdint>

#include "tests/backend/cuda/emulator/language.h"

namespace m2::emulator {

// Nearest, ties to even; not a number is 0x7fff.
uint32_t to_bf16(float x);
uint32_t to_f16(float x);
// Of two e4m3.
uint32_t e4m3_to_f16(uint32_t pair);
uint32_t e4m3_to_bf16(uint32_t pair);

// The operands of a lane as src/backend/cuda/portable/instructions.cuh lays them out: a0 to a3, b0,
// b1.
using Operands = std::array<uint32_t, 6>;
// d += a * b; all lanes of a warp.
template <bool kF16>
void multiply(float (&d)[4], const Operands& operands);

}  // namespace m2::emulator
