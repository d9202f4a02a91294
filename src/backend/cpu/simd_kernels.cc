// The kernels for the instruction set at hand: this file is compiled once a target (AVX2, AVX-512,
// NEON, …) and the best one is chosen when the program starts.
//
// One order of addition for every path, which batch-invariance rests on. A row's columns are cut
// into runs, up to where the scale changes or to a multiple of kRunColumns. Within a run, lane i of
// an accumulator takes columns i, i + N, i + 2N, … one after another; the run's sums, times its
// factor, are added to those of the runs before it; at the end sum_lanes() adds the lanes, always
// by the same tree. How many rows and tokens share a pass changes nothing of that. Weights are
// widened to fp32 in registers for a few tokens, into a panel in the first-level cache for more.
//
// Inputs carry the factor kInputScale, so that FP8 values, widened to 2^-120 of what they are (that
// takes no more than shifts and a mask), do not drive sums into the subnormal range; the factors of
// the runs undo both.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd_kernels.cc"
// Old x86 machines take the baseline; scalable vectors would need another reduction.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include <hwy/foreach_target.h>
// These after it: they are compiled a target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "base/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace m2 {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR  // no vectors: some compilers' only fallback
const Kernels* table() { return &plain_kernels(); }
#else
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a tile of kScaleTile columns is a whole number of vectors.
using F = hn::CappedTag<float, 16>;
using V = hn::Vec<F>;
constexpr F kF;
constexpr size_t kN = hn::MaxLanes(F());

constexpr int64_t kRunColumns = 512;
constexpr int kPanelRows = 4;  // with kRunColumns columns, and 3 tokens' inputs, fits the L1 cache
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

// How a type of weights becomes fp32: kGroup columns, the vectors in order, given to use(j,
// vector).
struct F8Weights {
  using Stored = uint8_t;
  // Packed (pack_row() below): 32-bit lane l of a group holds columns l, l + N, l + 2N and l + 3N.
  static constexpr int64_t kGroup = 4 * kN;
  static float scale(const Matrix& w, int64_t row, int64_t column) {
    return w.scales[row / kScaleTile * scale_tiles(w.columns) + column / kScaleTile];
  }
  static constexpr float kFactor = 0x1p120f / kInputScale;

  template <class Use>
  static HWY_INLINE void widen(const Stored* p, const Use& use) {
    const hn::RebindToSigned<F> d32;
    const auto group = hn::LoadU(d32, reinterpret_cast<const int32_t*>(p));
    use(0, value(hn::ShiftLeft<24>(group)));
    use(1, value(hn::ShiftLeft<16>(group)));
    use(2, value(hn::ShiftLeft<8>(group)));
    use(3, value(group));
  }

 private:
  // The e4m3 code in the upper byte, its exponent and mantissa moved to where fp32 keeps them.
  template <class Lanes>
  static HWY_INLINE V value(Lanes code) {
    const hn::RebindToSigned<F> d32;
    const auto mask = hn::Set(d32, static_cast<int32_t>(0x87f00000u));
    return hn::BitCast(kF, hn::And(hn::ShiftRight<4>(code), mask));
  }
};

struct Bf16Weights {
  using Stored = uint16_t;
  static constexpr int64_t kGroup = kN;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  template <class Use>
  static HWY_INLINE void widen(const Stored* p, const Use& use) {
    const hn::RebindToUnsigned<F> d32;
    const hn::Rebind<uint16_t, F> d16;
    use(0, hn::BitCast(kF, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, p)))));
  }
};

struct F32Weights {
  using Stored = float;
  static constexpr int64_t kGroup = kN;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  template <class Use>
  static HWY_INLINE void widen(const Stored* p, const Use& use) {
    use(0, hn::LoadU(kF, p));
  }
};

// Columns [begin, end) of rows of one tile that have one scale.
struct Run {
  int64_t begin, end;
  float factor;
};

template <class W>
HWY_INLINE Run run_at(const Matrix& w, int64_t row, int64_t begin) {
  const float scale = W::scale(w, row, begin);
  const int64_t limit = HWY_MIN(w.columns, (begin / kRunColumns + 1) * kRunColumns);
  int64_t end = HWY_MIN(limit, begin + kScaleTile);
  while (end < limit && W::scale(w, row, end) == scale) end = HWY_MIN(limit, end + kScaleTile);
  return {begin, end, scale * W::kFactor};
}

template <class W>
HWY_INLINE const typename W::Stored* row_at(const Matrix& w, int64_t row) {
  return static_cast<const typename W::Stored*>(w.data) + row * w.columns;
}

// kRows rows of one tile times kTokens tokens, widened in registers.
template <class W, int kRows, int kTokens>
HWY_INLINE void few_tokens(const Matrix& w, int64_t row, const float* const* x, float* out,
                           int64_t out_stride) {
  const auto* first = row_at<W>(w, row);
  V totals[kRows][kTokens];
  for (auto& of_row : totals) {
    for (V& total : of_row) total = hn::Zero(kF);
  }
  for (int64_t column = 0; column < w.columns;) {
    const Run run = run_at<W>(w, row, column);
    V sums[kRows][kTokens];
    for (auto& of_row : sums) {
      for (V& sum : of_row) sum = hn::Zero(kF);
    }
    for (int64_t i = run.begin; i < run.end; i += W::kGroup) {
      for (int r = 0; r < kRows; ++r) {
        const auto* p = first + r * w.columns + i;
        // The rows that come next: far enough ahead for memory, near enough for the L2 cache.
        if (i % (64 / sizeof(*p)) == 0) __builtin_prefetch(p + kRows * w.columns);
        W::widen(p, [&](int64_t j, V weights) HWY_ATTR {
          for (int t = 0; t < kTokens; ++t) {
            sums[r][t] = hn::MulAdd(weights, hn::LoadU(kF, x[t] + i + j * kN), sums[r][t]);
          }
        });
      }
    }
    const V factor = hn::Set(kF, run.factor);
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTokens; ++t) totals[r][t] = hn::MulAdd(sums[r][t], factor, totals[r][t]);
    }
    column = run.end;
  }
  const hn::CappedTag<float, 4> four;
  for (int t = 0; t < kTokens; ++t) {
    float* to = out + t * out_stride;
    if constexpr (kRows % 4 == 0) {
      for (int r = 0; r < kRows; r += 4) {
        hn::StoreU(sum_lanes(totals[r][t], totals[r + 1][t], totals[r + 2][t], totals[r + 3][t]),
                   four, to + r);
      }
    } else {
      for (int r = 0; r < kRows; ++r) to[r] = sum_lanes(totals[r][t]);
    }
  }
}

// Rows that share a tile of scales: up to the next multiple of kScaleTile.
inline int64_t rows_of_tile(int64_t row, int64_t row_end) {
  return HWY_MIN(row_end, (row / kScaleTile + 1) * kScaleTile);
}

template <class W, int kRows, int kTokens>
void few_tokens_all(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
                    float* out, int64_t out_stride) {
  int64_t row = row_begin;
  while (row < row_end) {
    const int64_t tile_end = rows_of_tile(row, row_end);
    for (; row + kRows <= tile_end; row += kRows) {
      few_tokens<W, kRows, kTokens>(w, row, x, out + row - row_begin, out_stride);
    }
    for (; row < tile_end; ++row) {
      few_tokens<W, 1, kTokens>(w, row, x, out + row - row_begin, out_stride);
    }
  }
}

// panel[r][i] = widened weights of a run of kPanelRows rows.
template <class W>
HWY_INLINE void fill_panel(const Matrix& w, int64_t row, const Run& run, float* panel) {
  for (int r = 0; r < kPanelRows; ++r) {
    const auto* from = row_at<W>(w, row + r);
    float* to = panel + r * kRunColumns - run.begin;
    for (int64_t i = run.begin; i < run.end; i += W::kGroup) {
      W::widen(from + i,
               [&](int64_t j, V weights) HWY_ATTR { hn::StoreU(weights, kF, to + i + j * kN); });
    }
  }
}

// One run for kTokens tokens; totals of the runs before are kept in `carried` [token, row, lane].
template <int kTokens>
HWY_INLINE void panel_step(const float* panel, const Run& run, bool last, const float* const* x,
                           float* carried, float* out, int64_t out_stride) {
  V sums[kTokens][kPanelRows];
  for (auto& of_token : sums) {
    for (V& sum : of_token) sum = hn::Zero(kF);
  }
  const int64_t columns = run.end - run.begin;
  for (int64_t i = 0; i < columns; i += kN) {
    V weights[kPanelRows];
    for (int r = 0; r < kPanelRows; ++r) weights[r] = hn::LoadU(kF, panel + r * kRunColumns + i);
    for (int t = 0; t < kTokens; ++t) {
      const V in = hn::LoadU(kF, x[t] + run.begin + i);
      for (int r = 0; r < kPanelRows; ++r) sums[t][r] = hn::MulAdd(weights[r], in, sums[t][r]);
    }
  }
  const V factor = hn::Set(kF, run.factor);
  const hn::CappedTag<float, 4> four;
  for (int t = 0; t < kTokens; ++t) {
    float* totals = carried + t * kPanelRows * kN;
    for (int r = 0; r < kPanelRows; ++r) {
      const V before = run.begin == 0 ? hn::Zero(kF) : hn::LoadU(kF, totals + r * kN);
      sums[t][r] = hn::MulAdd(sums[t][r], factor, before);
    }
    if (last) {
      hn::StoreU(sum_lanes(sums[t][0], sums[t][1], sums[t][2], sums[t][3]), four,
                 out + t * out_stride);
    } else {
      for (int r = 0; r < kPanelRows; ++r) hn::StoreU(sums[t][r], kF, totals + r * kN);
    }
  }
}

// kPanelRows rows of one tile times many tokens.
template <class W>
void many_tokens(const Matrix& w, int64_t row, const float* const* x, int64_t tokens, float* out,
                 int64_t out_stride, float* scratch) {
  float* panel = scratch;
  float* carried = scratch + kPanelRows * kRunColumns;
  for (int64_t column = 0; column < w.columns;) {
    const Run run = run_at<W>(w, row, column);
    const bool last = run.end == w.columns;
    fill_panel<W>(w, row, run, panel);
    int64_t t = 0;
    const auto step = [&](auto count) HWY_ATTR {
      panel_step<count()>(panel, run, last, x + t, carried + t * kPanelRows * kN,
                          out + t * out_stride, out_stride);
      t += count();
    };
    // Threes, and no single one at the end of several: it would wait for its own sums.
    while (tokens - t >= 5 || tokens - t == 3) step(std::integral_constant<int, 3>());
    while (tokens - t >= 2) step(std::integral_constant<int, 2>());
    if (tokens - t == 1) step(std::integral_constant<int, 1>());
    column = run.end;
  }
}

template <class W>
void many_tokens_all(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
                     int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  int64_t row = row_begin;
  while (row < row_end) {
    const int64_t tile_end = rows_of_tile(row, row_end);
    for (; row + kPanelRows <= tile_end; row += kPanelRows) {
      many_tokens<W>(w, row, x, tokens, out + row - row_begin, out_stride, scratch);
    }
    for (; row < tile_end; ++row) {
      for (int64_t t = 0; t < tokens; ++t) {
        few_tokens<W, 1, 1>(w, row, x + t, out + t * out_stride + row - row_begin, out_stride);
      }
    }
  }
}

template <class W>
void matmul_of(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
               int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  switch (tokens) {
    case 1:
      return few_tokens_all<W, 8, 1>(w, row_begin, row_end, x, out, out_stride);
    case 2:
      return few_tokens_all<W, 4, 2>(w, row_begin, row_end, x, out, out_stride);
    case 3:
      return few_tokens_all<W, 4, 3>(w, row_begin, row_end, x, out, out_stride);
    case 4:
      return few_tokens_all<W, 2, 4>(w, row_begin, row_end, x, out, out_stride);
    default:
      return many_tokens_all<W>(w, row_begin, row_end, x, tokens, out, out_stride, scratch);
  }
}

void matmul(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
            int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  switch (w.dtype) {
    case DType::kF32:
      return matmul_of<F32Weights>(w, row_begin, row_end, x, tokens, out, out_stride, scratch);
    case DType::kBF16:
      return matmul_of<Bf16Weights>(w, row_begin, row_end, x, tokens, out, out_stride, scratch);
    default:
      return matmul_of<F8Weights>(w, row_begin, row_end, x, tokens, out, out_stride, scratch);
  }
}

// Brings a row of FP8 weights into the order that F8Weights::widen() takes.
void pack_row(uint8_t* row, int64_t columns) {
  constexpr int64_t kGroup = F8Weights::kGroup;
  uint8_t group[kGroup];
  for (int64_t begin = 0; begin < columns; begin += kGroup) {
    std::copy_n(row + begin, kGroup, group);
    for (int64_t i = 0; i < kGroup; ++i) row[begin + i] = group[i / 4 + i % 4 * kN];
  }
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

// --- attention ---

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
