// The kernels for the instruction set at hand: this file is compiled once a target (AVX2, AVX-512,
// NEON, …) and the best one is chosen when the program starts.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd_kernels.cc"
// Old x86 machines take the baseline; scalable vectors would need another reduction.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include <hwy/foreach_target.h>
// These after it: they are compiled a target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "backend/cpu/kernels.h"
#if HWY_TARGET != HWY_SCALAR
#include "backend/cpu/simd_attention-inl.h"
#include "backend/cpu/simd_lanes-inl.h"
#include "backend/cpu/simd_matmul-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace m2 {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR  // no vectors: some compilers' only fallback
const Kernels* table() { return &plain_kernels(); }
#else

float sum_of_squares(const float* x, int64_t n) {
  V sum = hn::Zero(kF);
  for_vectors(n, [&](int64_t i, size_t count) HWY_ATTR {
    const V v = load(x + i, count);
    sum = hn::MulAdd(v, v, sum);
  });
  return sum_lanes(sum);
}

void scale(const float* x, float factor, const float* weight, int64_t n, float* out) {
  const V f = hn::Set(kF, factor);
  for_vectors(n, [&](int64_t i, size_t count) HWY_ATTR {
    store(hn::Mul(hn::Mul(load(x + i, count), f), load(weight + i, count)), out + i, count);
  });
}

void add_scaled(float a, const float* x, int64_t n, float* y) {
  const V factor = hn::Set(kF, a);
  for_vectors(n, [&](int64_t i, size_t count) HWY_ATTR {
    store(hn::MulAdd(factor, load(x + i, count), load(y + i, count)), y + i, count);
  });
}

void silu_multiply(const float* gate, const float* up, int64_t n, float* out) {
  const V one = hn::Set(kF, 1.0f);
  const V largest = hn::Set(kF, 88.0f);  // beyond, Exp() does not saturate
  for_vectors(n, [&](int64_t i, size_t count) HWY_ATTR {
    const V g = load(gate + i, count);
    const V silu = hn::Div(g, hn::Add(one, hn::Exp(kF, hn::Min(hn::Neg(g), largest))));
    const V value = hn::Mul(silu, load(up + i, count));
    store(hn::Mul(value, hn::Set(kF, kInputScale)), out + i, count);
  });
}

void widen(DType type, const void* from, int64_t n, float* out) {
  const hn::RebindToSigned<F> d32;
  if (type == DType::kBF16) {
    const auto* in = static_cast<const uint16_t*>(from);
    for (int64_t i = 0; i < n; i += kN) {
      hn::StoreU(Bf16Weights::widen<0>(Bf16Weights::read(in + i)), kF, out + i);
    }
    return;
  }
  const auto* in = static_cast<const uint8_t*>(from);
  const hn::Rebind<uint8_t, F> d8;
  const V factor = hn::Set(kF, 0x1p120f);  // as F8Weights: first to 2^-120 of the value
  for (int64_t i = 0; i < n; i += kN) {
    const auto code = hn::PromoteTo(d32, hn::LoadU(d8, in + i));
    const auto bits = hn::And(hn::ShiftRight<4>(hn::ShiftLeft<24>(code)),
                              hn::Set(d32, static_cast<int32_t>(0x87f00000u)));
    hn::StoreU(hn::Mul(hn::BitCast(kF, bits), factor), kF, out + i);
  }
}

double exponentials(const float* x, float largest, int64_t n, float* out) {
  const V top = hn::Set(kF, largest);
  // In pieces: a float sum over a whole vocabulary would lose digits.
  constexpr int64_t kPiece = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    V sum = hn::Zero(kF);
    for_vectors(HWY_MIN(kPiece, n - begin), [&](int64_t i, size_t count) HWY_ATTR {
      const V e = hn::Exp(kF, hn::Sub(load(x + begin + i, count), top));
      store(e, out + begin + i, count);
      sum = hn::Add(sum, count == kN ? e : hn::IfThenElseZero(hn::FirstN(kF, count), e));
    });
    total += sum_lanes(sum);
  }
  return total;
}

const Kernels* table() {
  static const Kernels kernels{.name = hwy::TargetName(HWY_TARGET),
                               .input_scale = kInputScale,
                               .pack_row = pack_row,
                               .matmul = matmul,
                               .sum_of_squares = sum_of_squares,
                               .scale = scale,
                               .add_scaled = add_scaled,
                               .silu_multiply = silu_multiply,
                               .attend = attend,
                               .widen = widen,
                               .exponentials = exponentials};
  return &kernels;
}

#endif
}  // namespace HWY_NAMESPACE
}  // namespace m2
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace m2 {

HWY_EXPORT(table);

const Kernels& fast_kernels() { return *HWY_DYNAMIC_DISPATCH(table)(); }

}  // namespace m2
#endif
