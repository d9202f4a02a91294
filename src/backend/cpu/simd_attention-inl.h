// Attention of some queries over one chunk of keys and values.
//
// Compiled once a target, by simd_kernels.cc: hence this guard, which a target switches.
#if defined(M2_BACKEND_CPU_SIMD_ATTENTION_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef M2_BACKEND_CPU_SIMD_ATTENTION_H_
#undef M2_BACKEND_CPU_SIMD_ATTENTION_H_
#else
#define M2_BACKEND_CPU_SIMD_ATTENTION_H_
#endif

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace m2 {
namespace HWY_NAMESPACE {

HWY_INLINE const float* row_of(const float* const* blocks, const AttendChunk& c, int32_t j) {
  return blocks[j / c.block_tokens] + int64_t{j % c.block_tokens} * c.head_dim;
}

// scores[q][j .. j + 3] for kQueries queries.
template <int kQueries>
HWY_INLINE void score_keys(const AttendChunk& c, int32_t query, int32_t j, int32_t num_keys) {
  const float* keys[4];
  // Past the last key the last one stands in: its score is overwritten.
  for (int k = 0; k < 4; ++k) keys[k] = row_of(c.keys, c, HWY_MIN(j + k, num_keys - 1));
  V sums[kQueries][4];
  for (auto& of_query : sums) {
    for (V& sum : of_query) sum = hn::Zero(kF);
  }
  for (int32_t d = 0; d < c.head_dim; d += static_cast<int32_t>(kN)) {
    V key[4];
    for (int k = 0; k < 4; ++k) key[k] = hn::LoadU(kF, keys[k] + d);
    for (int q = 0; q < kQueries; ++q) {
      const V in = hn::LoadU(kF, c.queries[query + q] + d);
      for (int k = 0; k < 4; ++k) sums[q][k] = hn::MulAdd(in, key[k], sums[q][k]);
    }
  }
  const hn::CappedTag<float, 4> four;
  for (int q = 0; q < kQueries; ++q) {
    const auto dots = sum_lanes(sums[q][0], sums[q][1], sums[q][2], sums[q][3]);
    hn::StoreU(hn::Mul(dots, hn::Set(four, c.scale)), four,
               c.scores + int64_t{query + q} * kChunkTokens + j);
  }
}

// Turns a query's scores into exponentials, zero from `visible` to the next whole vector.
HWY_INLINE void soften(const AttendChunk& c, int32_t query) {
  float* scores = c.scores + int64_t{query} * kChunkTokens;
  const int32_t visible = c.visible[query];
  const V lowest = hn::Set(kF, -1e30f);
  V top = lowest;
  for (int32_t j = 0; j < visible; j += static_cast<int32_t>(kN)) {
    V s = hn::LoadU(kF, scores + j);
    if (visible - j < static_cast<int32_t>(kN)) {
      s = hn::IfThenElse(hn::FirstN(kF, visible - j), s, lowest);
      hn::StoreU(s, kF, scores + j);
    }
    top = hn::Max(top, s);
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(kF, top));
  V sum = hn::Zero(kF);
  for (int32_t j = 0; j < visible; j += static_cast<int32_t>(kN)) {
    const V e = hn::Exp(kF, hn::Sub(hn::LoadU(kF, scores + j), hn::Set(kF, largest)));
    hn::StoreU(e, kF, scores + j);
    sum = hn::Add(sum, e);
  }
  c.largest[query] = largest;
  c.sum[query] = sum_lanes(sum);
}

// weighted[q][d ...] += the exponentials times values, keys [begin, end), kVectors vectors from d.
template <int kQueries, int kVectors>
HWY_INLINE void weigh(const AttendChunk& c, int32_t query, int32_t d, int32_t begin, int32_t end) {
  V sums[kQueries][kVectors];
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      sums[q][v] = hn::LoadU(kF, c.weighted[query + q] + d + v * kN);
    }
  }
  for (int32_t j = begin; j < end; ++j) {
    const float* row = row_of(c.values, c, j) + d;
    V value[kVectors];
    for (int v = 0; v < kVectors; ++v) value[v] = hn::LoadU(kF, row + v * kN);
    for (int q = 0; q < kQueries; ++q) {
      const V p = hn::Set(kF, c.scores[int64_t{query + q} * kChunkTokens + j]);
      for (int v = 0; v < kVectors; ++v) sums[q][v] = hn::MulAdd(p, value[v], sums[q][v]);
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[q][v], kF, c.weighted[query + q] + d + v * kN);
    }
  }
}

// kQueries queries: together over the keys that all of them see, then each over its own rest. What
// a query does not see is not even multiplied by zero: it may be anything.
template <int kQueries>
HWY_INLINE void weigh_values(const AttendChunk& c, int32_t query) {
  constexpr int kVectors = kN == 16 ? 2 : 4;
  const int32_t step = static_cast<int32_t>(kVectors * kN);
  int32_t common = c.visible[query];
  for (int q = 1; q < kQueries; ++q) common = HWY_MIN(common, c.visible[query + q]);
  for (int q = 0; q < kQueries; ++q) std::fill_n(c.weighted[query + q], c.head_dim, 0.0f);
  for (int32_t d = 0; d < c.head_dim; d += step) {
    weigh<kQueries, kVectors>(c, query, d, 0, common);
    for (int q = 0; q < kQueries; ++q) {
      if (c.visible[query + q] > common) {
        weigh<1, kVectors>(c, query + q, d, common, c.visible[query + q]);
      }
    }
  }
}

// call(first, count) for queries in threes, then what is left.
template <class Call>
HWY_INLINE void by_threes(int32_t count, const Call& call) {
  int32_t i = 0;
  for (; i + 3 <= count; i += 3) call(i, std::integral_constant<int, 3>());
  if (count - i == 2) call(i, std::integral_constant<int, 2>());
  if (count - i == 1) call(i, std::integral_constant<int, 1>());
}

void attend(const AttendChunk& c) {
  const int32_t num_keys = *std::max_element(c.visible, c.visible + c.num_queries);
  for (int32_t j = 0; j < num_keys; j += 4) {
    by_threes(c.num_queries,
              [&](int32_t q, auto count) HWY_ATTR { score_keys<count()>(c, q, j, num_keys); });
  }
  for (int32_t q = 0; q < c.num_queries; ++q) soften(c, q);
  by_threes(c.num_queries, [&](int32_t q, auto count) HWY_ATTR { weigh_values<count()>(c, q); });
}

}  // namespace HWY_NAMESPACE
}  // namespace m2
HWY_AFTER_NAMESPACE();

#endif
