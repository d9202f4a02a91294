// Matrix products with weights in FP8, bf16 and fp32.
//
// One order of addition for every shape, which batch-invariance rests on: lane i of an accumulator
// takes columns i, i + N, i + 2N, … of a row one after another, and sum_lanes() adds the lanes,
// always by the same tree. How many rows and tokens share a pass changes nothing of that.
//
// Inputs are multiplied by the scales of the weights that they meet, once for the rows that share
// them, so the inner loop knows of no scales. It widens weights to fp32 in registers, again for
// every few tokens: that is hidden behind their multiply-adds, and a widened copy in the cache was
// slower.
//
// Inputs carry the factor kInputScale, so that FP8 values, widened to 2^-120 of what they are (that
// takes no more than shifts and a mask), do not drive sums into the subnormal range; kFactor undoes
// both at the end.
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

constexpr int64_t kSegmentColumns = 512;  // with the inputs of eight tokens they fit the L1 cache
constexpr int64_t kFewTokens = 4;
// AVX-512 and NEON have 32 registers, the others 16.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON;
// Inputs of tokens lie so many floats further apart than they are long: in other cache sets.
constexpr int64_t kPad = 16;
static_assert(kTokenBlock * (kSegmentColumns + kPad) == scaled_inputs(0));

// How a type of weights becomes fp32: read() takes kParts vectors' weights at once, widen<i>()
// gives the i-th.
struct F8Weights {
  using Stored = uint8_t;
  // Packed (pack_row() below): 32-bit lane l of a group holds columns l, l + N, l + 2N and l + 3N.
  static constexpr int kParts = 4;
  static float scale(const Matrix& w, int64_t row, int64_t column) {
    return w.scales[row / kScaleTile * scale_tiles(w.columns) + column / kScaleTile];
  }
  static constexpr float kFactor = 0x1p120f / kInputScale;

  // Two codes at a time become bf16, in the two halves of a 32-bit lane …
  struct Read {
    hn::Vec<hn::Repartition<int16_t, F>> even, odd;  // columns l and l + 2N, l + N and l + 3N
  };
  static HWY_INLINE Read read(const Stored* p) {
    const hn::Repartition<int16_t, F> d16;
    const auto group = hn::LoadU(d16, reinterpret_cast<const int16_t*>(p));
    // A code in the upper byte: its exponent and mantissa go to where bf16 keeps them.
    const auto fields = hn::Set(d16, static_cast<int16_t>(0x87f0u));
    return {hn::And(hn::ShiftRight<4>(hn::ShiftLeft<8>(group)), fields),
            hn::And(hn::ShiftRight<4>(group), fields)};
  }
  // … and from there each half is an fp32.
  template <int kPart>
  static HWY_INLINE V widen(const Read& codes) {
    const hn::RebindToSigned<F> d32;
    const auto pair = hn::BitCast(d32, kPart % 2 == 0 ? codes.even : codes.odd);
    if constexpr (kPart < 2) {
      return hn::BitCast(kF, hn::ShiftLeft<16>(pair));
    } else {
      return hn::BitCast(kF, hn::And(pair, hn::Set(d32, static_cast<int32_t>(0xffff0000u))));
    }
  }
};

struct Bf16Weights {
  using Stored = uint16_t;
  static constexpr int kParts = 1;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  using Read = hn::Vec<hn::Rebind<uint16_t, F>>;
  static HWY_INLINE Read read(const Stored* p) { return hn::LoadU(hn::Rebind<uint16_t, F>(), p); }
  template <int kPart>
  static HWY_INLINE V widen(Read values) {
    const hn::RebindToUnsigned<F> d32;
    return hn::BitCast(kF, hn::ShiftLeft<16>(hn::PromoteTo(d32, values)));
  }
};

struct F32Weights {
  using Stored = float;
  static constexpr int kParts = 1;
  static float scale(const Matrix&, int64_t, int64_t) { return 1.0f; }
  static constexpr float kFactor = 1 / kInputScale;
  using Read = V;
  static HWY_INLINE Read read(const Stored* p) { return hn::LoadU(kF, p); }
  template <int kPart>
  static HWY_INLINE V widen(Read values) {
    return values;
  }
};

// Where there are registers for it: compilers would rather load a shared operand again for each
// use, and loads are what bounds the inner loop then.
HWY_INLINE void keep_in_register([[maybe_unused]] V& v) {
#if HWY_TARGET <= HWY_AVX3
  asm("" : "+v"(v.raw));
#endif
}

// body(std::integral_constant) for each part that read() takes.
template <class W, class Body>
HWY_INLINE void for_parts(const Body& body) {
  body(std::integral_constant<int, 0>());
  if constexpr (W::kParts == 4) {
    body(std::integral_constant<int, 1>());
    body(std::integral_constant<int, 2>());
    body(std::integral_constant<int, 3>());
  }
}

template <class W>
HWY_INLINE const typename W::Stored* row_at(const Matrix& w, int64_t row) {
  return static_cast<const typename W::Stored*>(w.data) + row * w.columns;
}

// to[t * stride + i - begin] = x[t][i] times the scale that column i has for the tile of `row`.
template <class W>
void scale_inputs(const Matrix& w, int64_t row, int64_t begin, int64_t end, const float* const* x,
                  int64_t tokens, float* to, int64_t stride) {
  for (int64_t column = begin; column < end;) {
    const int64_t tile_end = HWY_MIN(end, (column / kScaleTile + 1) * kScaleTile);
    const V scale = hn::Set(kF, W::scale(w, row, column));
    for (int64_t t = 0; t < tokens; ++t) {
      float* out = to + t * stride - begin;
      for (int64_t i = column; i < tile_end; i += kN) {
        hn::StoreU(hn::Mul(hn::LoadU(kF, x[t] + i), scale), kF, out + i);
      }
    }
    column = tile_end;
  }
}

// to[t * kRowBlock + r] = the lanes of sums[t][r], added up.
template <class W, int kRows, int kTokens>
HWY_INLINE void finish(const V (&sums)[kTokens][kRows], float* to) {
  const hn::CappedTag<float, 4> four;
  const auto factor = hn::Set(four, W::kFactor);
  if constexpr (kRows % 4 == 0) {
    for (int t = 0; t < kTokens; ++t) {
      for (int r = 0; r < kRows; r += 4) {
        const auto added = sum_lanes(sums[t][r], sums[t][r + 1], sums[t][r + 2], sums[t][r + 3]);
        hn::StoreU(hn::Mul(added, factor), four, to + int64_t{t} * kRowBlock + r);
      }
    }
  } else if constexpr (kRows == 2 && kTokens % 2 == 0) {
    const hn::Half<decltype(four)> two;
    for (int t = 0; t < kTokens; t += 2) {
      const auto added =
          hn::Mul(sum_lanes(sums[t][0], sums[t][1], sums[t + 1][0], sums[t + 1][1]), factor);
      hn::StoreU(hn::LowerHalf(two, added), two, to + int64_t{t} * kRowBlock);
      hn::StoreU(hn::UpperHalf(two, added), two, to + int64_t{t + 1} * kRowBlock);
    }
  } else if constexpr (kRows == 1 && kTokens % 4 == 0) {
    for (int t = 0; t < kTokens; t += 4) {
      float added[4];
      hn::StoreU(
          hn::Mul(sum_lanes(sums[t][0], sums[t + 1][0], sums[t + 2][0], sums[t + 3][0]), factor),
          four, added);
      for (int i = 0; i < 4; ++i) to[(t + i) * kRowBlock] = added[i];
    }
  } else {
    for (int t = 0; t < kTokens; ++t) {
      for (int r = 0; r < kRows; ++r) to[t * kRowBlock + r] = sum_lanes(sums[t][r]) * W::kFactor;
    }
  }
}

// A segment of the columns for the rows of one tile and some tokens.
struct Segment {
  int64_t begin, end;
  bool first, last;  // of the columns
  const float* x;    // scaled: x[t * x_stride + column - begin]
  int64_t x_stride;
  float* carried;  // [row of the tile, carried_stride / N tokens, N]: sums of the segments before
  int64_t carried_stride;
  float* sums;  // [token, kRowBlock], after the last segment
};

// kRows rows from row `row`, the tile's r-th, times kTokens tokens from the t-th.
template <class W, int kRows, int kTokens>
HWY_INLINE void multiply(const Matrix& w, int64_t row, const Segment& segment, int64_t r0,
                         int64_t t0) {
  const auto* first = row_at<W>(w, row) + segment.begin;
  const float* x = segment.x + t0 * segment.x_stride;
  float* carried = segment.carried + r0 * segment.carried_stride + t0 * kN;
  V sums[kTokens][kRows];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      sums[t][r] = segment.first ? hn::Zero(kF)
                                 : hn::LoadU(kF, carried + r * segment.carried_stride + t * kN);
    }
  }
  const int64_t columns = segment.end - segment.begin;
  for (int64_t i = 0; i < columns; i += W::kParts * kN) {
    const auto* p = first + i;
    if (i % (64 / sizeof(*p)) == 0) {
      // The rows that come next: far enough ahead for memory, near enough for the L2 cache.
      for (int r = 0; r < kRows; ++r) __builtin_prefetch(p + (r + kRows) * w.columns);
    }
    if constexpr (kRows <= (kManyRegisters ? 8 : 2)) {  // an input is loaded once for all rows
      typename W::Read read[kRows];
      for (int r = 0; r < kRows; ++r) read[r] = W::read(p + r * w.columns);
      for_parts<W>([&](auto part) HWY_ATTR {
        V weights[kRows];
        for (int r = 0; r < kRows; ++r) weights[r] = W::template widen<part()>(read[r]);
        for (int t = 0; t < kTokens; ++t) {
          V in = hn::LoadU(kF, x + t * segment.x_stride + i + part() * kN);
          keep_in_register(in);
          for (int r = 0; r < kRows; ++r) sums[t][r] = hn::MulAdd(weights[r], in, sums[t][r]);
        }
      });
    } else {  // a row's weights are widened in one go: two rows' would not fit beside the sums
      for (int r = 0; r < kRows; ++r) {
        const typename W::Read read = W::read(p + r * w.columns);
        for_parts<W>([&](auto part) HWY_ATTR {
          const V weights = W::template widen<part()>(read);
          for (int t = 0; t < kTokens; ++t) {
            const V in = hn::LoadU(kF, x + t * segment.x_stride + i + part() * kN);
            sums[t][r] = hn::MulAdd(weights, in, sums[t][r]);
          }
        });
      }
    }
  }
  if (segment.last) return finish<W>(sums, segment.sums + t0 * kRowBlock + r0);
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      hn::StoreU(sums[t][r], kF, carried + r * segment.carried_stride + t * kN);
    }
  }
}

// All rows of the tile for kTokens tokens from the t-th; so many rows at a time that the sums hide
// the latency of a multiply-add and leave registers to widen in.
template <class W, int kTokens>
void multiply_tile(const Matrix& w, int64_t row, int64_t rows, const Segment& segment, int64_t t) {
  constexpr int kRows = kTokens == 1   ? 8
                        : kTokens == 8 ? (kManyRegisters ? 2 : 1)
                        : kTokens == 4 ? (kManyRegisters ? 4 : 2)
                                       : 4;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) multiply<W, kRows, kTokens>(w, row + r, segment, r, t);
  for (; r < rows; ++r) multiply<W, 1, kTokens>(w, row + r, segment, r, t);
}

template <class W>
void matmul_tile(const Matrix& w, int64_t row, int64_t rows, const float* const* x, int64_t tokens,
                 float* scratch) {
  // A few tokens' inputs are in the cache as they are; their weights come from memory, row by row.
  const int64_t width = tokens <= kFewTokens ? w.columns : kSegmentColumns;
  float* const scaled = scratch + int64_t{kRowBlock} * kTokenBlock;
  Segment segment{.begin = 0,
                  .end = 0,
                  .first = true,
                  .last = false,
                  .x = scaled,
                  .x_stride = width + kPad,
                  .carried = scaled + scaled_inputs(w.columns),
                  .carried_stride = tokens * int64_t{kN},
                  .sums = scratch};
  for (; segment.begin < w.columns; segment.begin = segment.end) {
    segment.end = HWY_MIN(w.columns, segment.begin + width);
    segment.first = segment.begin == 0;
    segment.last = segment.end == w.columns;
    scale_inputs<W>(w, row, segment.begin, segment.end, x, tokens, scaled, segment.x_stride);
    int64_t t = 0;
    // Eights and fours; then what is left, five as three and two.
    for (; tokens - t >= 8; t += 8) multiply_tile<W, 8>(w, row, rows, segment, t);
    for (; tokens - t >= 6 || tokens - t == 4; t += 4)
      multiply_tile<W, 4>(w, row, rows, segment, t);
    if (tokens - t >= 3) {
      multiply_tile<W, 3>(w, row, rows, segment, t);
      t += 3;
    }
    if (tokens - t == 2) multiply_tile<W, 2>(w, row, rows, segment, t);
    if (tokens - t == 1) multiply_tile<W, 1>(w, row, rows, segment, t);
  }
}

template <class W>
void matmul_of(const Matrix& w, int64_t row_begin, int64_t row_end, const float* const* x,
               int64_t tokens, float* out, int64_t out_stride, float* scratch) {
  for (int64_t row = row_begin; row < row_end;) {
    // Rows that share a tile of scales.
    const int64_t rows = HWY_MIN(row_end, (row / kScaleTile + 1) * kScaleTile) - row;
    matmul_tile<W>(w, row, rows, x, tokens, scratch);
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(scratch + t * kRowBlock, rows, out + t * out_stride + row - row_begin);
    }
    row += rows;
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
