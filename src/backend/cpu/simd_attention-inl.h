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

// The chunk's keys and values, found through its blocks once.
struct ChunkRows {
  const float* keys[kChunkTokens];
  const float* values[kChunkTokens];
};

inline void find_rows(const AttendChunk& c, int32_t num_keys, ChunkRows& rows) {
  for (int32_t begin = 0, block = 0; begin < num_keys; begin += c.block_tokens, ++block) {
    const int32_t end = HWY_MIN(num_keys, begin + c.block_tokens);
    for (int32_t j = begin; j < end; ++j) {
      rows.keys[j] = c.keys[block] + int64_t{j - begin} * c.head_dim;
      rows.values[j] = c.values[block] + int64_t{j - begin} * c.head_dim;
    }
  }
  // Keys are taken by fours: past the last one it stands in, and its score is overwritten.
  for (int32_t j = num_keys; j % 4 != 0; ++j) rows.keys[j] = rows.keys[num_keys - 1];
}

// scores[q][j .. j + 3] for kQueries queries.
template <int kQueries>
HWY_INLINE void score_keys(const AttendChunk& c, const ChunkRows& rows, int32_t query, int32_t j) {
  const float* const* keys = rows.keys + j;
  V sums[kQueries][4];
  for (auto& of_query : sums) {
    for (V& sum : of_query) sum = hn::Zero(kF);
  }
  for (int32_t d = 0; d < c.head_dim; d += static_cast<int32_t>(kN)) {
    V in[kQueries];
    for (int q = 0; q < kQueries; ++q) in[q] = hn::LoadU(kF, c.queries[query + q] + d);
    for (int k = 0; k < 4; ++k) {
      const V key = hn::LoadU(kF, keys[k] + d);
      for (int q = 0; q < kQueries; ++q) sums[q][k] = hn::MulAdd(in[q], key, sums[q][k]);
    }
  }
  const hn::CappedTag<float, 4> four;
  for (int q = 0; q < kQueries; ++q) {
    const auto dots = sum_lanes(sums[q][0], sums[q][1], sums[q][2], sums[q][3]);
    hn::StoreU(hn::Mul(dots, hn::Set(four, c.scale)), four,
               c.scores + int64_t{query + q} * kChunkTokens + j);
  }
}

// Asks memory for the keys that come after the four from j, and for the values of these four: in
// decode both are read once a step, and their rows are too short for the machine to guess ahead.
HWY_INLINE void prefetch_rows(const AttendChunk& c, const ChunkRows& rows, int32_t j,
                              int32_t num_keys) {
  constexpr int32_t kAhead = 8, kLine = 64 / sizeof(float);
  for (int32_t k = j; k < HWY_MIN(j + 4, num_keys); ++k) {
    const float* key = rows.keys[HWY_MIN(k + kAhead, num_keys - 1)];
    for (int32_t d = 0; d < c.head_dim; d += kLine) {
      __builtin_prefetch(key + d);
      __builtin_prefetch(rows.values[k] + d);
    }
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
HWY_INLINE void weigh(const AttendChunk& c, const ChunkRows& rows, int32_t query, int32_t d,
                      int32_t begin, int32_t end) {
  V sums[kQueries][kVectors];
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      sums[q][v] = hn::LoadU(kF, c.weighted[query + q] + d + v * kN);
    }
  }
  for (int32_t j = begin; j < end; ++j) {
    const float* row = rows.values[j] + d;
    V p[kQueries];
    for (int q = 0; q < kQueries; ++q) {
      p[q] = hn::Set(kF, c.scores[int64_t{query + q} * kChunkTokens + j]);
    }
    // One value at a time: with the sums and the weights, AVX2's sixteen registers are then full.
    for (int v = 0; v < kVectors; ++v) {
      const V value = hn::LoadU(kF, row + v * kN);
      for (int q = 0; q < kQueries; ++q) sums[q][v] = hn::MulAdd(p[q], value, sums[q][v]);
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[q][v], kF, c.weighted[query + q] + d + v * kN);
    }
  }
}

// kQueries queries over keys [begin, end): together over those that all of them see, then each over
// its own rest. What a query does not see is not even multiplied by zero: it may be anything.
template <int kQueries>
HWY_INLINE void weigh_values(const AttendChunk& c, const ChunkRows& rows, int32_t query,
                             int32_t begin, int32_t end) {
  constexpr int kVectors = kN == 16 ? 2 : 4;
  const int32_t step = static_cast<int32_t>(kVectors * kN);
  int32_t common = end;
  for (int q = 0; q < kQueries; ++q) common = HWY_MIN(common, c.visible[query + q]);
  common = HWY_MAX(common, begin);
  for (int32_t d = 0; d < c.head_dim; d += step) {
    weigh<kQueries, kVectors>(c, rows, query, d, begin, common);
    for (int q = 0; q < kQueries; ++q) {
      const int32_t own_end = HWY_MIN(end, c.visible[query + q]);
      if (own_end > common) weigh<1, kVectors>(c, rows, query + q, d, common, own_end);
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
  ChunkRows rows;
  find_rows(c, num_keys, rows);
  for (int32_t j = 0; j < num_keys; j += 4) {
    prefetch_rows(c, rows, j, num_keys);
    by_threes(c.num_queries,
              [&](int32_t q, auto count) HWY_ATTR { score_keys<count()>(c, rows, q, j); });
  }
  for (int32_t q = 0; q < c.num_queries; ++q) soften(c, q);
  for (int32_t q = 0; q < c.num_queries; ++q) std::fill_n(c.weighted[q], c.head_dim, 0.0f);
  // In stretches whose values stay in the first-level cache for all queries.
  constexpr int32_t kStretch = 32;
  for (int32_t begin = 0; begin < num_keys; begin += kStretch) {
    const int32_t end = HWY_MIN(num_keys, begin + kStretch);
    by_threes(c.num_queries, [&](int32_t q, auto count)
                                 HWY_ATTR { weigh_values<count()>(c, rows, q, begin, end); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace m2
HWY_AFTER_NAMESPACE();

#endif
