#include "tests/backend/cuda/emulator/tensor_core.h"

#include <vector>

namespace m2::emulator {
namespace {

constexpr int32_t kRows = 16, kColumns = 8, kInner = 16;

// What each f16 and each e4m3 is, as the other formats have it: exactly.
struct Formats {
  std::vector<float> f16 = std::vector<float>(1 << 16);
  std::array<uint16_t, 1 << 8> e4m3_as_f16, e4m3_as_bf16;

  Formats() {
    for (uint32_t i = 0; i < f16.size(); ++i) {
      f16[i] = __half2float(__half(__half_raw{static_cast<unsigned short>(i)}));
    }
    for (uint32_t i = 0; i < e4m3_as_f16.size(); ++i) {
      e4m3_as_f16[i] = __nv_cvt_fp8_to_halfraw(static_cast<uint8_t>(i), __NV_E4M3).x;
      e4m3_as_bf16[i] = static_cast<uint16_t>(to_bf16(f16[e4m3_as_f16[i]]));
    }
  }
};
const Formats formats;

uint32_t pair_of(const std::array<uint16_t, 1 << 8>& table, uint32_t pair) {
  return table[pair & 0xff] | uint32_t{table[pair >> 8 & 0xff]} << 16;
}

template <bool kF16>
double widened(uint32_t bits) {
  if constexpr (kF16) return formats.f16[bits & 0xffff];
  return __uint_as_float(bits << 16);
}

// The sums of each lane in place of its operands.
template <bool kF16>
void multiply_all(Slot* slots) {
  double a[kRows][kInner], b[kInner][kColumns], sums[kRows][kColumns] = {};
  const auto put_row = [&](int32_t row, int32_t at, uint32_t pair) {
    a[row][at] = widened<kF16>(pair), a[row][at + 1] = widened<kF16>(pair >> 16);
  };
  const auto put_column = [&](int32_t column, int32_t at, uint32_t pair) {
    b[at][column] = widened<kF16>(pair), b[at + 1][column] = widened<kF16>(pair >> 16);
  };
  for (int32_t lane = 0; lane < kWarpLanes; ++lane) {
    const auto own = value_of<Operands>(slots[lane]);
    const int32_t g = lane / 4, t = lane % 4;
    put_row(g, 4 * t, own[0]), put_row(g + 8, 4 * t, own[1]);
    put_row(g, 4 * t + 2, own[2]), put_row(g + 8, 4 * t + 2, own[3]);
    put_column(g, 4 * t, own[4]), put_column(g, 4 * t + 2, own[5]);
  }
  for (int32_t row = 0; row < kRows; ++row) {
    for (int32_t k = 0; k < kInner; ++k) {
      for (int32_t column = 0; column < kColumns; ++column) {
        sums[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (int32_t lane = 0; lane < kWarpLanes; ++lane) {
    const int32_t g = lane / 4, t = lane % 4;
    std::array<float, 4> own;
    for (int32_t i = 0; i < 4; ++i) {
      own[i] = static_cast<float>(sums[g + i / 2 * 8][2 * t + i % 2]);
    }
    slots[lane] = slot_of(own);
  }
}

}  // namespace

uint32_t to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  return isnan(x) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
uint32_t to_f16(float x) { return __half_raw(__float2half_rn(x)).x; }

uint32_t e4m3_to_f16(uint32_t pair) { return pair_of(formats.e4m3_as_f16, pair); }
uint32_t e4m3_to_bf16(uint32_t pair) { return pair_of(formats.e4m3_as_bf16, pair); }

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
