#include "tests/backend/cuda/emulator/tensor_core.h"

#include <vector>

namespace m2::emulator {
namespace {

constexpr int32_t kRows = 16, kColumns = 8, kInner = 16;

float from_bf16(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }

// Of every f16.
const std::vector<float>& floats() {
  static const std::vector<float> all = [] {
    std::vector<float> made(1 << 16);
    for (uint32_t i = 0; i < made.size(); ++i) {
      made[i] = __half2float(__half(__half_raw{static_cast<unsigned short>(i)}));
    }
    return made;
  }();
  return all;
}

uint16_t f16_of_e4m3(uint8_t x) { return __nv_cvt_fp8_to_halfraw(x, __NV_E4M3).x; }

// The sums of each lane in place of its operands.
template <bool kF16>
void multiply_all(Slot* slots) {
  std::array<std::array<float, kInner>, kRows> a;
  std::array<std::array<float, kInner>, kColumns> b;
  const auto widened = [](uint16_t x) { return kF16 ? floats()[x] : from_bf16(x); };
  const auto put = [&](auto& row, int32_t at, uint32_t pair) {
    row[at] = widened(static_cast<uint16_t>(pair));
    row[at + 1] = widened(static_cast<uint16_t>(pair >> 16));
  };
  for (int32_t lane = 0; lane < kWarpLanes; ++lane) {
    const auto own = value_of<Operands>(slots[lane]);
    const int32_t g = lane / 4, t = lane % 4;
    put(a[g], 4 * t, own[0]), put(a[g + 8], 4 * t, own[1]);
    put(a[g], 4 * t + 2, own[2]), put(a[g + 8], 4 * t + 2, own[3]);
    put(b[g], 4 * t, own[4]), put(b[g], 4 * t + 2, own[5]);
  }
  for (int32_t lane = 0; lane < kWarpLanes; ++lane) {
    const int32_t g = lane / 4, t = lane % 4;
    std::array<float, 4> sums;
    for (int32_t i = 0; i < 4; ++i) {
      const auto& row = a[g + i / 2 * 8];
      const auto& column = b[2 * t + i % 2];
      double sum = 0;
      for (int32_t k = 0; k < kInner; ++k) sum += double{row[k]} * column[k];
      sums[i] = static_cast<float>(sum);
    }
    slots[lane] = slot_of(sums);
  }
}

}  // namespace

uint32_t to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  return isnan(x) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

uint32_t to_f16(float x) { return __half_raw(__float2half_rn(x)).x; }

uint32_t e4m3_to_f16(uint32_t pair) {
  return f16_of_e4m3(pair & 0xff) | uint32_t{f16_of_e4m3(pair >> 8 & 0xff)} << 16;
}

uint32_t e4m3_to_bf16(uint32_t pair) {
  const auto one = [](uint32_t x) { return to_bf16(floats()[f16_of_e4m3(x & 0xff)]); };
  return one(pair) | one(pair >> 8) << 16;
}

template <bool kF16>
void multiply(float (&d)[4], const Operands& operands) {
  Block& block = *machine().current().block;
  const Slot* slots = block.exchange(Collective::kProduct, slot_of(operands), &multiply_all<kF16>);
  const auto sums = value_of<std::array<float, 4>>(slots[lane()]);
  for (int32_t i = 0; i < 4; ++i) d[i] += sums[i];
}
template void multiply<true>(float (&)[4], const Operands&);
template void multiply<false>(float (&)[4], const Operands&);

}  // namespace m2::emulator
