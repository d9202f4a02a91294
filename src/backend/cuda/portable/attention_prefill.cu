// Attention of rows of several tokens. A block takes 128 queries of a KV head, 16 a warp; tiles of
// 64 keys and their values come through a ring in shared memory. The scores of a tile are made
// while those of the tile before become probabilities.
#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/attention.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = kItemQueries / 16, kThreads = kWarps * 32;
constexpr int32_t kGroups = 4, kTile = kGroups * kKeyGroup, kMostStages = 3;
constexpr float kNone = -INFINITY;

template <int32_t kHeadDim, typename Element>
struct Shape {
  static constexpr int32_t kRowBytes = kHeadDim * sizeof(Element);  // of a key
  static constexpr int32_t kRowVectors = kRowBytes / 16, kGroupBytes = kKeyGroup * kRowBytes;
  static constexpr int32_t kStageBytes = 2 * kGroups * kGroupBytes;  // keys, then values
  static constexpr int32_t kVectors = kGroupBytes / 16;
  static_assert(kVectors <= kThreads);

  // Where a vector of a key lies: what a warp reads at once is in different banks.
  __device__ static int32_t key_place(int32_t row, int32_t vector) {
    const int32_t low = row & 1, high = row >> 2 & 1;
    const int32_t swap = sizeof(Element) == 2 ? low << 2
                         : kRowVectors == 8   ? low << 1 | high << 2
                                              : high << 1;
    return row * kRowBytes + (vector ^ swap) * 16;
  }
  // Eight dimensions from 8 `eighth` on.
  __device__ static uint4 key(const unsigned char* keys, int32_t row, int32_t eighth) {
    constexpr int32_t kParts = 2 / sizeof(Element);  // of a vector
    const unsigned char* at =
        keys + key_place(row, eighth / kParts) + eighth % kParts * (16 / kParts);
    return load_eight(reinterpret_cast<const Element*>(at));
  }
};

// A warp's 16 queries; a lane holds rows g and g + 8, as the tensor core lays them.
template <int32_t kHeadDim>
struct Queries {
  uint4 q_low[kHeadDim / 32], q_high[kHeadDim / 32];  // 8 consecutive of every 32 dimensions
  float out[kHeadDim / 8][4] = {};
  float largest[2] = {kNone, kNone}, sum[2] = {};  // sums: of the lane's own keys
  int32_t last[2];                                 // the last position that the row sees

  __device__ void load(const bf16_t* low, const bf16_t* high, int32_t t) {
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 none{0, 0, 0, 0};
      q_low[i] = low == nullptr ? none : *reinterpret_cast<const uint4*>(low + 32 * i + 8 * t);
      q_high[i] = high == nullptr ? none : *reinterpret_cast<const uint4*>(high + 32 * i + 8 * t);
    }
  }
};

// Of 16 keys each a lane has the keys 4t to 4t + 3, in two of the tensor core's tiles.
using Scores = float[kGroups][2][4];

template <int32_t kHeadDim, typename Element>
__device__ void score(const Queries<kHeadDim>& s, const unsigned char* keys, int32_t g, int32_t t,
                      Scores& scores) {
  using S = Shape<kHeadDim, Element>;
#pragma unroll
  for (int32_t k = 0; k < kGroups; ++k) {
    const int32_t row = k * kKeyGroup + g / 2 * 4 + g % 2;
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) scores[k][0][i] = scores[k][1][i] = 0;
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 k0 = S::key(keys, row, 4 * i + t), k1 = S::key(keys, row + 2, 4 * i + t);
      const uint4 low = s.q_low[i], high = s.q_high[i];
      mma(scores[k][0], low.x, high.x, low.y, high.y, k0.x, k0.y);
      mma(scores[k][1], low.x, high.x, low.y, high.y, k1.x, k1.y);
      mma(scores[k][0], low.z, high.z, low.w, high.w, k0.z, k0.w);
      mma(scores[k][1], low.z, high.z, low.w, high.w, k1.z, k1.w);
    }
  }
}

// Scores become probabilities against the largest so far, and what was summed is put in proportion.
// `scale` is that of the scores, times log2(e).
template <int32_t kHeadDim>
__device__ void soften(Queries<kHeadDim>& s, Scores& scores, float scale) {
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    float largest = s.largest[half];
#pragma unroll
    for (int32_t k = 0; k < kGroups; ++k) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) {
        largest = fmaxf(largest, scores[k][i / 2][2 * half + i % 2]);
      }
    }
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    const float safe = largest == kNone ? 0.0f : largest * scale;  // nothing seen yet
    const float factor = power_of_two(s.largest[half] * scale - safe);
    float sum = 0;
#pragma unroll
    for (int32_t k = 0; k < kGroups; ++k) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) {
        float& x = scores[k][i / 2][2 * half + i % 2];
        sum += x = power_of_two(x * scale - safe);
      }
    }
    s.sum[half] = s.sum[half] * factor + sum;
    s.largest[half] = largest;
#pragma unroll
    for (auto& tile : s.out) {
      tile[2 * half] *= factor;
      tile[2 * half + 1] *= factor;
    }
  }
}

template <int32_t kHeadDim, typename Element>
__device__ void weigh(Queries<kHeadDim>& s, const unsigned char* values, int32_t g, int32_t t,
                      const Scores& p) {
  using S = Shape<kHeadDim, Element>;
#pragma unroll
  for (int32_t k = 0; k < kGroups; ++k) {
    const uint32_t a0 = pack_bf16(p[k][0][0], p[k][0][1]), a2 = pack_bf16(p[k][1][0], p[k][1][1]);
    const uint32_t a1 = pack_bf16(p[k][0][2], p[k][0][3]), a3 = pack_bf16(p[k][1][2], p[k][1][3]);
    const auto* group = reinterpret_cast<const Element*>(values + k * S::kGroupBytes);
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      const uint2 v = load_four(group + (n * 8 + g) * kKeyGroup + 4 * t);
      mma(s.out[n], a0, a1, a2, a3, v.x, v.y);
    }
  }
}

template <int32_t kHeadDim, typename Element>
__global__ void __launch_bounds__(kThreads, 1) prefill_kernel(AttentionArgs a, Mark mark) {
  using S = Shape<kHeadDim, Element>;
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);
  wait_for_previous();
  start_next(mark);
  const int32_t head = blockIdx.x, group = a.num_heads / a.kv.num_heads;
  const AttentionItem item = a.items[gridDim.y - 1 - blockIdx.y];  // long ones first
  const RowInfo row = a.rows[item.row];
  const int32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int32_t first = item.first_query + threadIdx.x / 32 * 16, count = row.num_tokens * group;
  const int64_t width = int64_t{a.num_heads} * kHeadDim;
  Queries<kHeadDim> s;
  int64_t place[2];
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    const int32_t query = first + half * 8 + g, token = query / group;
    s.last[half] = query < count ? row.context_tokens + token : -1;
    place[half] = (row.first_token + token) * width + (head * group + query % group) * kHeadDim;
  }
  s.load(s.last[0] >= 0 ? a.q + place[0] : nullptr, s.last[1] >= 0 ? a.q + place[1] : nullptr, t);
  const int32_t* blocks = a.blocks + row.first_block;
  const int32_t last_query = min(item.first_query + kItemQueries, count) - 1;
  const int32_t end = row.context_tokens + last_query / group + 1, tiles = divide_up(end, kTile);
  // Up to here nothing is masked for any query of the warp.
  const int32_t seen_by_all = row.context_tokens + min(first, count - 1) / group + 1;

  constexpr int32_t kStages = ring_stages(kMostStages, kAsyncCopies);
  const auto copy = [&](int32_t tile, bool with_keys, bool with_values) {
    if (tile < tiles && static_cast<int32_t>(threadIdx.x) < S::kVectors) {
      unsigned char* keys = memory + tile % kStages * S::kStageBytes;
      unsigned char* values = keys + kGroups * S::kGroupBytes;
#pragma unroll
      for (int32_t k = 0; k < kGroups; ++k) {
        // Past the end: the last group once more, which is masked there.
        const int32_t position = min(tile * kTile + k * kKeyGroup, end - 1);
        const int64_t at = a.kv.group_at(blocks, position, head) * sizeof(Element) +
                           static_cast<int32_t>(threadIdx.x) * 16;
        const int32_t key = k * kKeyGroup + threadIdx.x / S::kRowVectors;
        if (with_keys) {
          copy_async(keys + S::key_place(key, threadIdx.x % S::kRowVectors),
                     static_cast<const char*>(a.kv.keys) + at);
        }
        if (with_values) {
          copy_async(values + k * S::kGroupBytes + threadIdx.x * 16,
                     static_cast<const char*>(a.kv.values) + at);
        }
      }
    }
  };
  // With two stages values come a tile later than keys: those that they replace are in use longer.
  const auto fetch = [&](int32_t tile) {
    copy(tile, true, kAsyncCopies);
    if (!kAsyncCopies && tile > 0) copy(tile - 1, false, true);
    commit_copies();
  };
  fetch(0);
  fetch(1);
  wait_copies<1>();
  __syncthreads();
  Scores scores;
  score<kHeadDim, Element>(s, memory, g, t, scores);
  const float scale = a.scale * 1.4426950408889634f;
  for (int32_t tile = 0; tile < tiles; ++tile) {
    wait_copies<0>();
    __syncthreads();
    fetch(tile + 2);
    if ((tile + 1) * kTile > seen_by_all) {
#pragma unroll
      for (int32_t i = 0; i < 8 * kGroups; ++i) {
        const int32_t position = tile * kTile + i / 8 * kKeyGroup + 4 * t + i / 4 % 2 * 2 + i % 2;
        float& x = scores[i / 8][i / 4 % 2][i % 4];
        x = position <= s.last[i / 2 % 2] ? x : kNone;
      }
    }
    Scores next;  // of the tile after the last one: of what lies there, and not used
    score<kHeadDim, Element>(s, memory + (tile + 1) % kStages * S::kStageBytes, g, t, next);
    soften<kHeadDim>(s, scores, scale);
    const unsigned char* stage = memory + tile % kStages * S::kStageBytes;
    weigh<kHeadDim, Element>(s, stage + kGroups * S::kGroupBytes, g, t, scores);
#pragma unroll
    for (int32_t i = 0; i < 8 * kGroups; ++i) {
      scores[i / 8][i / 4 % 2][i % 4] = next[i / 8][i / 4 % 2][i % 4];
    }
  }
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    float sum = s.sum[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    if (s.last[half] < 0) continue;
    const float inverse = 1.0f / sum;
    auto* out = reinterpret_cast<uint32_t*>(a.attended + place[half]);
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      out[n * 4 + t] =
          pack_input(s.out[n][2 * half] * inverse, s.out[n][2 * half + 1] * inverse, a.f16);
    }
  }
}

template <int32_t kHeadDim, typename Element>
void launch(const AttentionArgs& a, const Queue& queue) {
  const int32_t shared_bytes =
      ring_stages(kMostStages, queue.async_copies) * Shape<kHeadDim, Element>::kStageBytes;
  const auto kernel = prefill_kernel<kHeadDim, Element>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  enqueue(kernel, dim3(a.kv.num_heads, a.num_items), kThreads, shared_bytes, queue, a);
}

}  // namespace

void launch_prefill_attention(const AttentionArgs& args, const Queue& queue) {
  const bool narrow = args.kv.head_dim == 64;
  if (args.kv.fp8) {
    narrow ? launch<64, uint8_t>(args, queue) : launch<128, uint8_t>(args, queue);
  } else {
    narrow ? launch<64, bf16_t>(args, queue) : launch<128, bf16_t>(args, queue);
  }
}

}  // namespace m2::cuda
