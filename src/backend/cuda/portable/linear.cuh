// All products with weights: FP8 (widened to f16 exactly, scales of 64 x 64 tiles) with f16 inputs,
// or bf16 weights with bf16 inputs; fp32 sums on the tensor cores. Forms:
//   stream  few tokens: a block streams tiles of 16 rows of weights through shared memory, past the
//           tokens; each weight is read from memory once (linear_stream.cu)
//   bulk    FP8 experts with few pairs each, on compute capability 9.0 and later: the same by bulk
//           copies, the inputs in registers (linear_bulk.cu)
//   single  dense products of up to 8 tokens, on compute capability 9.0 and later: the same by bulk
//           copies, sums kept until several tiles are done (single.cuh)
//   split   dense FP8 of 9 to 256 tokens: blocks take parts of the columns (linear_split.cu)
//   wide    the same of 65 to 128 tokens where blocks have less shared memory (linear_wide.cu)
//   tile    many tokens: 128 or 256 rows by 64 tokens through shared memory (linear_tile.cu)
// All need columns that are multiples of 64.
//
// Bytes: rows * columns of FP8 (twice that in bf16), once; flops: 2 * rows * columns * tokens.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// What belongs to one matrix: consecutive tokens, or pairs of one expert.
struct Work {
  int32_t matrix, first, count;
};

// Which experts the step's (token, expert) pairs go to; made by launch_route (router.cuh).
struct ExpertLists {
  int32_t* begin = nullptr;       // [experts + 1] into pairs, by expert
  int32_t* pair_token = nullptr;  // [pairs] the token of each
  int32_t* place = nullptr;       // [tokens, k] where a token's pair stands; -1: another rank's
  int32_t* active = nullptr;      // [experts] those with a pair, rising
  int32_t* num_active = nullptr;  // [1]
  Work* tiles = nullptr;          // [max tiles] up to tile_tokens pairs of one expert each
  int32_t* num_tiles = nullptr;   // [1]
};

enum class LinearKind : uint8_t {
  kStore,   // out[t, row] = w x, fp32
  kAdd,     // hidden[t, row] += w x, bf16
  kGateUp,  // of each expert's pairs: activated[pair, row] = silu(w1 x) * (w3 x), input of kDown
  kDown,    // of each expert's pairs: out[pair, row] = w x, fp32
};

struct LinearArgs {
  LinearKind kind = LinearKind::kStore;
  DeviceMatrix weights;
  const uint16_t* x = nullptr;  // [tokens or pairs, columns] f16 or bf16, as the weights are
  int32_t tokens = 0;           // of the step; bounds an expert's pairs too
  ExpertLists lists;            // kGateUp, kDown
  int32_t tile_tokens = 0, max_tiles = 0;  // kGateUp, kDown: of the lists
  int32_t max_active = 0;                  // experts that can have a pair: bounds the grid
  void* out = nullptr;                     // [tokens or pairs, rows]; kGateUp: [pairs, rows / 2]
  int32_t out_stride = 0;                  // elements
  // kStore: parts of the columns, each of which leaves [tokens, rows] of its own, one after
  // another.
  int32_t splits = 1;
  int32_t multiprocessors = 1;
};

// Chooses the form by the number of tokens.
void launch_linear(const LinearArgs& args, const Queue& queue);

// Up to this many tokens the stream form is used; of bf16 fewer where the tile form has blocks for
// all of the GPU.
inline constexpr int32_t kStreamTokens = 64, kStreamTokensBf16 = 16, kStreamTokensOfManyRows = 8;
// Bulk copies pay for experts: for one or two tokens the rings start sooner, and with more than
// these an expert has more pairs than a tile holds, so that its weights come several times.
inline constexpr int32_t kLeastBulkTokens = 3, kMostBulkTokens = 512, kBulkTileTokens = 24;
inline constexpr int32_t kTileTokens = 64;  // of a block of the tile form
// Pairs of an entry of the experts' tile list.
int32_t expert_tile_tokens(const LinearArgs& gate_up, const LinearArgs& down, const Queue& queue);
void launch_linear_stream(const LinearArgs& args, const Queue& queue);
bool linear_wide_serves(const LinearArgs& args, const Queue& queue);
void launch_linear_wide(const LinearArgs& args, const Queue& queue);
bool linear_bulk_serves(const LinearArgs& args, const Queue& queue);
void launch_linear_bulk(const LinearArgs& args, const Queue& queue);
// Dense FP8 products of these numbers of tokens where blocks have much shared memory
// (linear_split.cu).
inline constexpr int32_t kLeastSplitTokens = 9, kMostSplitTokens = 256;
bool linear_split_serves(const LinearArgs& args, const Queue& queue);
void launch_linear_split(const LinearArgs& args, const Queue& queue);
// The parts that such a product gains from, at most `room`; 1 of any other.
int32_t linear_splits(const LinearArgs& args, int64_t room, const Queue& queue);
void launch_linear_tile(const LinearArgs& args, const Queue& queue);

#ifdef __CUDACC__

// Between gate/up and down, f16 has this factor: it spans 1e-6 to 1e6 then.
inline constexpr float kActivatedScale = 1.0f / 16;

// The weight row that row i of a block's tile stands for. For kGateUp every 8 gate rows are
// followed by their 8 up rows, so that one lane gets both for the same output.
template <LinearKind kKind>
__device__ inline int32_t weight_row(int32_t tile_row, int32_t rows) {
  if constexpr (kKind != LinearKind::kGateUp) return tile_row;
  const int32_t within = tile_row % 16;
  return (within < 8 ? 0 : rows / 2) + tile_row / 16 * 8 + within % 8;
}

// Puts a lane's sums of one token where they belong: `low` of tile row r (r % 16 < 8), `high` of
// tile row r + 8. `at` is the token or the pair.
template <LinearKind kKind>
__device__ inline void put(const LinearArgs& a, int64_t at, int32_t r, float low, float high) {
  const int32_t rows = a.weights.rows;
  if constexpr (kKind == LinearKind::kGateUp) {
    const int32_t row = r / 16 * 8 + r % 8;
    if (row >= rows / 2) return;
    const float value = low / (1.0f + __expf(-low)) * high;
    const uint32_t packed =
        a.weights.fp8 ? pack_f16(value * kActivatedScale, 0.0f) : pack_bf16(value, 0.0f);
    static_cast<uint16_t*>(a.out)[at * a.out_stride + row] = static_cast<uint16_t>(packed);
  } else if constexpr (kKind == LinearKind::kAdd) {
    auto* out = static_cast<bf16_t*>(a.out) + at * a.out_stride;
    if (r < rows) out[r] = to_bf16(bf16_low(out[r]) + low);
    if (r + 8 < rows) out[r + 8] = to_bf16(bf16_low(out[r + 8]) + high);
  } else {
    const bool scaled = kKind == LinearKind::kDown && a.weights.fp8;
    const float factor = scaled ? 1.0f / kActivatedScale : 1.0f;
    auto* out = static_cast<float*>(a.out) + at * a.out_stride;
    if (r < rows) out[r] = low * factor;
    if (r + 8 < rows) out[r + 8] = high * factor;
  }
}

#endif  // __CUDACC__

}  // namespace m2::cuda
