// Matrix products with weights in FP8, bf16 and fp32.
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
//
// Compiled once a target, by simd_kernels.cc: hence this guard, which a target switches.
#if defined(M2_BACKEND_CPU_SIMD_MATMUL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef M2_BACKEND_CPU_SIMD_MATMUL_H_
#undef M2_BACKEND_CPU_SIMD_MATMUL_H_
#else
#define M2_BACKEND_CPU_SIMD_MATMUL_H_
#endif

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd_lanes-inl.h"
#include "base/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace m2 {
namespace HWY_NAMESPACE {

constexpr int64_t kRunColumns = 512;
constexpr int kPanelRows = 8;  // with kRunColumns columns, and 3 tokens' inputs, fits the L1 cache
constexpr int64_t kPanelStride = kRunColumns + 16;  // not a power of two: rows share no cache set
constexpr int kStepRows = 4;  // of a panel, that with 3 tokens fill AVX2's registers
static_assert(kPanelRows * kPanelStride <= kPanelFloats && kPanelRows % kStepRows == 0);

// How a type of weights becomes fp32: widen() takes kParts vectors' weights at once.
struct F8Weights {
  using Stored = uint8_t;
  // Packed (pack_row() below): 32-bit lane l of a group holds columns l, l + N, l + 2N and l + 3N.
  static constexpr int kParts = 4;
  static float scale(const Matrix& w, int64_t row, int64_t column) {
    return w.scales[row / kScaleTile * scale_tiles(w.columns) + column / kScaleTile];
  }
  static constexpr float kFactor = 0x1p120f / kInputScale;

  // Two codes at a time become bf16, in the two halves of a lane; from there a half is an fp32.
  static HWY_INLINE void widen(const Stored* p, V* out) {
    const hn::RebindToSigned<F> d32;
    const hn::Repartition<int16_t, F> d16;
    const auto group = hn::LoadU(d16, reinterpret_cast<const int16_t*>(p));
    // A code in the upper byte: its exponent and mantissa go to where bf16 keeps them.
    const auto fields = hn::Set(d16, static_cast<int16_t>(0x87f0u));
    const auto low = hn::And(hn::ShiftRight<4>(hn::ShiftLeft<8>(group)), fields);
    const auto high = hn::And(hn::ShiftRight<4>(group), fields);
    const auto upper = hn::Set(d32, static_cast<int32_t>(0xffff0000u));
    out[0] = hn::BitCast(kF, hn::ShiftLeft<16>(hn::BitCast(d32, low)));
    out[1] = hn::BitCast(kF, hn::ShiftLeft<16>(hn::BitCast(d32, high)));
    out[2] = hn::BitCast(kF, hn::And(hn::BitCast(d32, low), upper));
    out[3] = hn::BitCast(kF, hn::And(hn::BitCast(d32, high), upper));
  }
};

struct Bf16Weights {
  using Stored = uint16_t;
  static constexpr int kParts = 1;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  static HWY_INLINE void widen(const Stored* p, V* out) {
    const hn::RebindToUnsigned<F> d32;
    const hn::Rebind<uint16_t, F> d16;
    out[0] = hn::BitCast(kF, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, p))));
  }
};

struct F32Weights {
  using Stored = float;
  static constexpr int kParts = 1;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  static HWY_INLINE void widen(const Stored* p, V* out) { out[0] = hn::LoadU(kF, p); }
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
    for (int64_t i = run.begin; i < run.end; i += W::kParts * kN) {
      const auto* p = first + i;
      if (i % (64 / sizeof(*p)) == 0) {
        // The rows that come next: far enough ahead for memory, near enough for the L2 cache.
        for (int r = 0; r < kRows; ++r) __builtin_prefetch(p + (r + kRows) * w.columns);
      }
      for (int r = 0; r < kRows; ++r) {
        V weights[W::kParts];
        W::widen(p + r * w.columns, weights);
        for (int part = 0; part < W::kParts; ++part) {
          for (int t = 0; t < kTokens; ++t) {
            const V in = hn::LoadU(kF, x[t] + i + part * kN);
            sums[r][t] = hn::MulAdd(weights[part], in, sums[r][t]);
          }
        }
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

// Columns of a row that a panel holds at once: up to a multiple of kRunColumns, in one or more
// runs.
struct Segment {
  int64_t begin, end;
  int num_runs = 0;
  Run runs[kRunColumns / kScaleTile];
};

template <class W>
HWY_INLINE Segment segment_at(const Matrix& w, int64_t row, int64_t begin) {
  Segment segment{.begin = begin, .end = begin};
  do {
    const Run run = run_at<W>(w, row, segment.end);
    segment.runs[segment.num_runs++] = run;
    segment.end = run.end;
  } while (segment.end < w.columns && segment.end % kRunColumns != 0);
  return segment;
}

// panel[r][i] = widened weights of a segment of kPanelRows rows.
template <class W>
HWY_INLINE void fill_panel(const Matrix& w, int64_t row, const Segment& segment, float* panel) {
  for (int r = 0; r < kPanelRows; ++r) {
    const auto* from = row_at<W>(w, row + r);
    float* to = panel + r * kPanelStride - segment.begin;
    for (int64_t i = segment.begin; i < segment.end; i += W::kParts * kN) {
      V weights[W::kParts];
      W::widen(from + i, weights);
      for (int part = 0; part < W::kParts; ++part)
        hn::StoreU(weights[part], kF, to + i + part * kN);
    }
  }
}

// sums[t][r] = panel[r] · x[t] over one run; both start at the panel's first column.
template <int kTokens>
HWY_INLINE void dot_run(const float* panel, int64_t begin, int64_t end, const float* const* x,
                        V (&sums)[kTokens][kStepRows]) {
  for (auto& of_token : sums) {
    for (V& sum : of_token) sum = hn::Zero(kF);
  }
  for (int64_t i = begin; i < end; i += kN) {
    V in[kTokens];
    for (int t = 0; t < kTokens; ++t) in[t] = hn::LoadU(kF, x[t] + i);
    // One weight at a time: with the sums and the inputs, AVX2's sixteen registers are then full.
    for (int r = 0; r < kStepRows; ++r) {
      const V weights = hn::LoadU(kF, panel + r * kPanelStride + i);
      for (int t = 0; t < kTokens; ++t) sums[t][r] = hn::MulAdd(weights, in[t], sums[t][r]);
    }
  }
}

// kStepRows rows of a panel, its whole segment, for kTokens tokens; totals of the segments before
// are kept in `carried` [token, kPanelRows, lane].
template <int kTokens>
HWY_INLINE void panel_step(const float* panel, const Segment& segment, bool last,
                           const float* const* x, float* carried, float* out, int64_t out_stride) {
  V totals[kTokens][kStepRows];
  for (int t = 0; t < kTokens; ++t) {
    const float* before = carried + t * kPanelRows * kN;
    for (int r = 0; r < kStepRows; ++r) {
      totals[t][r] = segment.begin == 0 ? hn::Zero(kF) : hn::LoadU(kF, before + r * kN);
    }
  }
  const float* from[kTokens];
  for (int t = 0; t < kTokens; ++t) from[t] = x[t] + segment.begin;
  for (int i = 0; i < segment.num_runs; ++i) {
    const Run& run = segment.runs[i];
    V sums[kTokens][kStepRows];
    dot_run<kTokens>(panel, run.begin - segment.begin, run.end - segment.begin, from, sums);
    const V factor = hn::Set(kF, run.factor);
    for (int t = 0; t < kTokens; ++t) {
      for (int r = 0; r < kStepRows; ++r) {
        totals[t][r] = hn::MulAdd(sums[t][r], factor, totals[t][r]);
      }
    }
  }
  const hn::CappedTag<float, 4> four;
  for (int t = 0; t < kTokens; ++t) {
    if (last) {
      hn::StoreU(sum_lanes(totals[t][0], totals[t][1], totals[t][2], totals[t][3]), four,
                 out + t * out_stride);
    } else {
      float* after = carried + t * kPanelRows * kN;
      for (int r = 0; r < kStepRows; ++r) hn::StoreU(totals[t][r], kF, after + r * kN);
    }
  }
}

// Columns [begin, end) for kPanelRows rows of one tile and many tokens.
template <class W>
void many_tokens(const Matrix& w, int64_t row, int64_t begin, int64_t end, const float* const* x,
                 int64_t tokens, float* panel, float* carried, float* out, int64_t out_stride) {
  for (int64_t column = begin; column < end;) {
    const Segment segment = segment_at<W>(w, row, column);
    const bool last = segment.end == w.columns;
    fill_panel<W>(w, row, segment, panel);
    int64_t t = 0;
    const auto step = [&](auto count) HWY_ATTR {
      // The second half finds the inputs in the L1 cache.
      for (int r = 0; r < kPanelRows; r += kStepRows) {
        panel_step<count()>(panel + r * kPanelStride, segment, last, x + t,
                            carried + (t * kPanelRows + r) * kN, out + t * out_stride + r,
                            out_stride);
      }
      t += count();
    };
    // Threes, and no single one at the end of several: it would wait for its own sums.
    while (tokens - t >= 5 || tokens - t == 3) step(std::integral_constant<int, 3>());
    while (tokens - t >= 2) step(std::integral_constant<int, 2>());
    if (tokens - t == 1) step(std::integral_constant<int, 1>());
    column = segment.end;
  }
}

// Segment by segment of the columns, so that the tokens' inputs there stay in the L2 cache while
// all rows go over them; the totals of all rows and tokens wait in `carried` meanwhile.
template <class W>
void many_tokens_all(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
                     int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  constexpr int64_t kSmallInputs = 65536;  // floats
  const int64_t width = tokens * w.columns <= kSmallInputs ? w.columns : kRunColumns;
  float* panel = scratch;
  for (int64_t segment = 0; segment < w.columns; segment += width) {
    const int64_t segment_end = HWY_MIN(w.columns, segment + width);
    float* carried = scratch + kPanelRows * kPanelStride;
    for (int64_t row = row_begin; row < row_end;) {
      const int64_t tile_end = rows_of_tile(row, row_end);
      for (; row + kPanelRows <= tile_end; row += kPanelRows) {
        many_tokens<W>(w, row, segment, segment_end, x, tokens, panel, carried,
                       out + row - row_begin, out_stride);
        carried += tokens * kPanelRows * kN;
      }
      for (; row < tile_end; ++row) {  // odd rows, which only odd shapes have: whole, once
        if (segment > 0) continue;
        for (int64_t t = 0; t < tokens; ++t) {
          few_tokens<W, 1, 1>(w, row, x + t, out + t * out_stride + row - row_begin, out_stride);
        }
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
      // `carried` holds the sums of so many rows.
      for (int64_t row = row_begin; row < row_end; row += kRowBlock) {
        many_tokens_all<W>(w, row, HWY_MIN(row_end, row + kRowBlock), x, tokens,
                           out + row - row_begin, out_stride, scratch);
      }
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
  constexpr int64_t kGroup = F8Weights::kParts * int64_t{kN};
  uint8_t group[kGroup];
  for (int64_t begin = 0; begin < columns; begin += kGroup) {
    std::copy_n(row + begin, kGroup, group);
    for (int64_t i = 0; i < kGroup; ++i) row[begin + i] = group[i / 4 + i % 4 * kN];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace m2
HWY_AFTER_NAMESPACE();

#endif
