// Vectors as all fast kernels use them: their width, loads of a part, the sum of their lanes.
//
// Compiled once a target, by simd_kernels.cc: hence this guard, which a target switches.
#if defined(M2_BACKEND_CPU_SIMD_LANES_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef M2_BACKEND_CPU_SIMD_LANES_H_
#undef M2_BACKEND_CPU_SIMD_LANES_H_
#else
#define M2_BACKEND_CPU_SIMD_LANES_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace m2 {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a tile of kScaleTile columns is a whole number of vectors.
using F = hn::CappedTag<float, 16>;
using V = hn::Vec<F>;
constexpr F kF;
constexpr size_t kN = hn::MaxLanes(F());

constexpr float kInputScale = 0x1p64f;

// The sum of all 128-bit blocks of a vector.
template <class D>
HWY_INLINE auto fold(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return fold(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Adds up the lanes of each of four vectors.
HWY_INLINE auto sum_lanes(V a, V b, V c, V d) {
  const V ac = hn::Add(hn::InterleaveLower(kF, a, c), hn::InterleaveUpper(kF, a, c));
  const V bd = hn::Add(hn::InterleaveLower(kF, b, d), hn::InterleaveUpper(kF, b, d));
  return fold(kF, hn::Add(hn::InterleaveLower(kF, ac, bd), hn::InterleaveUpper(kF, ac, bd)));
}

HWY_INLINE float sum_lanes(V a) {
  const V zero = hn::Zero(kF);
  return hn::GetLane(sum_lanes(a, zero, zero, zero));
}

// body(i, count) for whole vectors, then for the rest with count < kN: loads and stores there are
// of the first `count` lanes, so that an element's value does not depend on where a range was cut.
template <class Body>
HWY_INLINE void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + static_cast<int64_t>(kN) <= n; i += kN) body(i, kN);
  if (i < n) body(i, static_cast<size_t>(n - i));
}

HWY_INLINE V load(const float* p, size_t count) {
  return count == kN ? hn::LoadU(kF, p) : hn::MaskedLoad(hn::FirstN(kF, count), kF, p);
}

HWY_INLINE void store(V v, float* p, size_t count) {
  if (count == kN) {
    hn::StoreU(v, kF, p);
  } else {
    hn::BlendedStore(v, hn::FirstN(kF, count), kF, p);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace m2
HWY_AFTER_NAMESPACE();

#endif
