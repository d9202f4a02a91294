#include <algorithm>

#include "backend/cuda/portable/attention.cuh"
#include "backend/cuda/portable/qk_norm.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 4;
constexpr int kSharedPercent = 44;  // of a multiprocessor's: 100 KiB, for two blocks
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kNone = -INFINITY;

// The state of a warp's 16 queries. A lane holds rows g and g + 8, as the tensor core lays them.
template <int32_t kHeadDim>
struct Queries {
  uint4 q_low[kHeadDim / 32], q_high[kHeadDim / 32];  // 8 consecutive of every 32 dimensions
  float out[kHeadDim / 8][4];
  float largest[2], sum[2];
  int32_t last[2];  // the last position that the row sees; -1: no query

  __device__ void clear() {
#pragma unroll
    for (auto& tile : out) tile[0] = tile[1] = tile[2] = tile[3] = 0;
    largest[0] = largest[1] = kNone;
    sum[0] = sum[1] = 0;
  }
  __device__ void load(const bf16_t* low, const bf16_t* high, int32_t t) {
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      q_low[i] = low == nullptr ? uint4{0, 0, 0, 0}
                                : *reinterpret_cast<const uint4*>(low + 32 * i + 8 * t);
      q_high[i] = high == nullptr ? uint4{0, 0, 0, 0}
                                  : *reinterpret_cast<const uint4*>(high + 32 * i + 8 * t);
    }
  }
};

// The operands of 16 consecutive keys: a lane's four key columns are the keys 4t to 4t + 3, which
// makes its values consecutive in the transposed plane.
template <int32_t kHeadDim>
struct Keys {
  uint4 first[kHeadDim / 32], second[kHeadDim / 32];

  template <typename Element>
  __device__ void load(const Element* keys, int32_t g, int32_t t) {
    const Element* at = keys + (g / 2 * 4 + g % 2) * kHeadDim + 8 * t;
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      first[i] = load_eight(at + 32 * i);
      second[i] = load_eight(at + 32 * i + 2 * kHeadDim);
    }
  }
};

// One of the two halves of a warp's queries (rows g and g + 8): scores to probabilities, against
// the largest so far.
template <int32_t kHeadDim>
__device__ inline void soften(Queries<kHeadDim>& s, const float (&scores)[2][4], int32_t half,
                              int32_t position, float scale, int32_t t, float (&p)[4]) {
  float x[4] = {scores[0][2 * half], scores[0][2 * half + 1], scores[1][2 * half],
                scores[1][2 * half + 1]};
  float largest = s.largest[half];
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) {
    x[i] = position + 4 * t + i <= s.last[half] ? x[i] * scale : kNone;
    largest = fmaxf(largest, x[i]);
  }
  largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
  const float safe = largest == kNone ? 0.0f : largest;  // nothing seen yet
  const float factor = exp2f((s.largest[half] - safe) * kLog2E);
  float sum = 0;
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) sum += p[i] = exp2f((x[i] - safe) * kLog2E);
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  s.sum[half] = s.sum[half] * factor + sum;
  s.largest[half] = largest;
#pragma unroll
  for (auto& tile : s.out) {
    tile[2 * half] *= factor;
    tile[2 * half + 1] *= factor;
  }
}

// A group's keys and values, in registers.
template <int32_t kHeadDim, typename Element>
struct Group {
  Keys<kHeadDim> keys;
  uint2 values[kHeadDim / 8];

  __device__ void load_keys(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    keys.load(static_cast<const Element*>(a.kv.keys) + at, g, t);
  }
  __device__ void load_values(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    const Element* plane = static_cast<const Element*>(a.kv.values) + at;
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      values[n] = load_four(plane + (n * 8 + g) * kKeyGroup + 4 * t);
    }
  }
  __device__ void load(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    load_keys(a, at, g, t);
    load_values(a, at, g, t);
  }
};

// Keys [begin, end), both multiples of a group, of which the first is loaded. The next group's keys
// are on their way while this one's values are weighted, and its values while its keys are used.
template <int32_t kHeadDim, typename Element>
__device__ void attend(Queries<kHeadDim>& s, Group<kHeadDim, Element>& group,
                       const AttentionArgs& a, const int32_t* blocks, int32_t head, int32_t begin,
                       int32_t end, int32_t g, int32_t t) {
  for (int32_t position = begin; position < end; position += kKeyGroup) {
    const int64_t next_at = a.kv.group_at(blocks, min(position + kKeyGroup, end - 1), head);
    float scores[2][4] = {};
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 low = s.q_low[i], high = s.q_high[i];
      const uint4 k0 = group.keys.first[i], k1 = group.keys.second[i];
      mma(scores[0], low.x, high.x, low.y, high.y, k0.x, k0.y);
      mma(scores[1], low.x, high.x, low.y, high.y, k1.x, k1.y);
      mma(scores[0], low.z, high.z, low.w, high.w, k0.z, k0.w);
      mma(scores[1], low.z, high.z, low.w, high.w, k1.z, k1.w);
    }
    group.load_keys(a, next_at, g, t);
    float p[2][4];
    soften<kHeadDim>(s, scores, 0, position, a.scale, t, p[0]);
    soften<kHeadDim>(s, scores, 1, position, a.scale, t, p[1]);
    const uint32_t a0 = pack_bf16(p[0][0], p[0][1]), a2 = pack_bf16(p[0][2], p[0][3]);
    const uint32_t a1 = pack_bf16(p[1][0], p[1][1]), a3 = pack_bf16(p[1][2], p[1][3]);
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      mma(s.out[n], a0, a1, a2, a3, group.values[n].x, group.values[n].y);
    }
    group.load_values(a, next_at, g, t);
  }
}

__device__ inline float sum_of(const float* x, int32_t begin, int32_t end) {
  float sum = 0;
#pragma unroll 4
  for (int32_t i = begin + threadIdx.x; i < end; i += kWarps * 32) sum += x[i];
  return warp_sum(sum);
}

// One row's queries of a KV head to shared memory, normed and rotated; `stores` says that this
// block also puts the row's new key and value into the cache.
template <int32_t kHeadDim>
__device__ void norm_queries(const AttentionArgs& a, const RowInfo& row, const int32_t* blocks,
                             int32_t head, bool stores, bf16_t (*queries)[kHeadDim + 8]) {
  __shared__ float shared[2][kWarps];
  const FusedNorm& f = a.fused;
  const int32_t group = a.num_heads / a.kv.num_heads;
  const int32_t q_width = a.num_heads * kHeadDim, kv_width = a.kv.num_heads * kHeadDim;
  const float* q = f.qkv + int64_t{row.first_token} * (q_width + 2 * kv_width);
  const float* k = q + q_width;
  const float2* rotation = f.rotation + int64_t{row.first_token} * f.half;
  const float* squares = f.squares + int64_t{row.first_token} * ((q_width + 2 * kv_width) / 16);
  const float q_part = sum_of(squares, 0, q_width / 16);
  const float k_part = sum_of(squares, q_width / 16, (q_width + kv_width) / 16);
  if (threadIdx.x % 32 == 0) {
    shared[0][threadIdx.x / 32] = q_part, shared[1][threadIdx.x / 32] = k_part;
  }
  __syncthreads();
  float q_squares = 0, k_squares = 0;
#pragma unroll
  for (int32_t w = 0; w < kWarps; ++w) q_squares += shared[0][w], k_squares += shared[1][w];
  const float q_factor = 1.0f / sqrtf(q_squares / static_cast<float>(q_width) + f.epsilon);
  const float k_factor = 1.0f / sqrtf(k_squares / static_cast<float>(kv_width) + f.epsilon);
#pragma unroll 6
  for (int32_t i = threadIdx.x; i < group * kHeadDim; i += kWarps * 32) {
    const int32_t begin = (head * group + i / kHeadDim) * kHeadDim;
    queries[i / kHeadDim][i % kHeadDim] = to_bf16(
        normed_rotated(q + begin, f.q_norm + begin, q_factor, i % kHeadDim, f.half, rotation));
  }
  if (!stores) return;
  const int64_t place = a.kv.group_at(blocks, row.context_tokens, head);
  const int32_t within = row.context_tokens % kKeyGroup, begin = head * kHeadDim;
  for (int32_t d = threadIdx.x; d < kHeadDim; d += kWarps * 32) {
    a.kv.store(a.kv.keys, place + within * kHeadDim + d,
               normed_rotated(k + begin, f.k_norm + begin, k_factor, d, f.half, rotation));
    a.kv.store(a.kv.values, place + d * kKeyGroup + within, k[kv_width + begin + d]);
  }
}

template <int32_t kHeadDim, typename Element, bool kFused>
__global__ void __launch_bounds__(kWarps * 32) decode_kernel(AttentionArgs a, Mark mark) {
  __shared__ float outs[kWarps][kMaxGroup][kHeadDim + 2];
  __shared__ float largests[kWarps][kMaxGroup], sums[kWarps][kMaxGroup];
  __shared__ float2 factors[kMaxGroup][kMaxShares];  // of each share, and the sum in the first
  __shared__ __align__(16) bf16_t queries[kFused ? kMaxGroup : 1][kHeadDim + 8];
  __shared__ bool is_last;
  // What earlier steps stored may be read while the kernel ahead still works.
  const bool ahead = kFused || a.apart;
  if (!ahead) {
    wait_for_previous();
    start_next(mark);
  }
  const int32_t head = blockIdx.x, share = blockIdx.y, group = a.num_heads / a.kv.num_heads;
  const RowInfo row = a.rows[a.decode_rows[blockIdx.z]];
  const int32_t* blocks = a.blocks + row.first_block;
  // Whole groups of keys, at least two a warp, spread evenly over all warps of the shares in use.
  const int32_t groups = divide_up(row.context_tokens + 1, kKeyGroup);
  const int32_t shares = min(a.shares, divide_up(groups, 2 * kWarps));
  if (share >= shares) return;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t a_warp = divide_up(groups, shares * kWarps);
  const int32_t begin = min(groups, (share * kWarps + warp) * a_warp);
  const int32_t end = min(groups, begin + a_warp);
  Group<kHeadDim, Element> keys;
  Queries<kHeadDim> s;
  s.clear();
  for (int32_t half = 0; half < 2; ++half) {
    s.last[half] = half * 8 + g < group ? row.context_tokens : -1;
  }
  const bool early = ahead && begin < end && begin + 1 < groups;
  if (early) keys.load(a, a.kv.group_at(blocks, begin * kKeyGroup, head), g, t);
  if (ahead) {
    wait_for_previous();
    start_next(mark);
  }
  const bf16_t *low = nullptr, *high = nullptr;  // the queries of rows g and g + 8
  if constexpr (kFused) {
    norm_queries<kHeadDim>(a, row, blocks, head, (groups - 1) / a_warp / kWarps == share, queries);
    __syncthreads();
    low = queries[g], high = queries[g + 8];
  } else {
    low = a.q + (int64_t{row.first_token} * a.num_heads + head * group + g) * kHeadDim;
    high = low + 8 * kHeadDim;
  }
  if (!early && begin < end) {
    keys.load(a, a.kv.group_at(blocks, begin * kKeyGroup, head), g, t);
  }
  s.load(s.last[0] >= 0 ? low : nullptr, s.last[1] >= 0 ? high : nullptr, t);
  attend(s, keys, a, blocks, head, begin * kKeyGroup, end * kKeyGroup, g, t);
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    const int32_t at = half * 8 + g;
    if (at >= group) continue;
    if (t == 0) largests[warp][at] = s.largest[half], sums[warp][at] = s.sum[half];
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      outs[warp][at][n * 8 + 2 * t] = s.out[n][2 * half];
      outs[warp][at][n * 8 + 2 * t + 1] = s.out[n][2 * half + 1];
    }
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < group * kHeadDim; i += blockDim.x) {
    const int32_t at = i / kHeadDim, d = i % kHeadDim;
    float largest = kNone, sum = 0, out = 0;
    for (int32_t w = 0; w < kWarps; ++w) largest = fmaxf(largest, largests[w][at]);
    const float safe = largest == kNone ? 0.0f : largest;
    for (int32_t w = 0; w < kWarps; ++w) {
      const float factor = exp2f((largests[w][at] - safe) * kLog2E);
      sum += sums[w][at] * factor;
      out += outs[w][at][d] * factor;
    }
    if (shares == 1) {
      const int64_t place = int64_t{row.first_token} * a.num_heads + head * group + at;
      a.attended[place * kHeadDim + d] = static_cast<uint16_t>(pack_input(out / sum, 0.0f, a.f16));
    } else {
      const int64_t place =
          (int64_t{blockIdx.z} * a.num_heads + head * group + at) * a.shares + share;
      a.partial[place * kHeadDim + d] = out;
      if (d == 0) a.softmax[place] = {largest, sum};
    }
  }
  if (shares == 1) return;
  // Whichever block of the row and head comes last joins them, in the order of shares.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* done = a.done + blockIdx.z * a.kv.num_heads + head;
    is_last = atomicAdd(done, 1) == shares - 1;
    if (is_last) *done = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  const int64_t first = (int64_t{blockIdx.z} * a.num_heads + head * group) * a.shares;
  for (int32_t i = threadIdx.x; i < group * shares; i += blockDim.x) {
    factors[i / shares][i % shares] =
        __ldcg(a.softmax + first + i / shares * a.shares + i % shares);
  }
  __syncthreads();
  for (int32_t at = threadIdx.x; at < group; at += blockDim.x) {
    float largest = kNone, sum = 0;
    for (int32_t n = 0; n < shares; ++n) largest = fmaxf(largest, factors[at][n].x);
    for (int32_t n = 0; n < shares; ++n) {
      factors[at][n].x = exp2f((factors[at][n].x - largest) * kLog2E);
      sum += factors[at][n].y * factors[at][n].x;
    }
    factors[at][0].y = sum;
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < group * kHeadDim / 4; i += blockDim.x) {
    const int32_t at = i / (kHeadDim / 4), d = i % (kHeadDim / 4) * 4;
    const float* from = a.partial + (first + at * a.shares) * kHeadDim + d;
    float4 out{0, 0, 0, 0};
#pragma unroll 8
    for (int32_t n = 0; n < shares; ++n) {
      const float4 one = __ldcg(reinterpret_cast<const float4*>(from + n * kHeadDim));
      const float factor = factors[at][n].x;
      out.x += one.x * factor, out.y += one.y * factor;
      out.z += one.z * factor, out.w += one.w * factor;
    }
    const float inverse = 1.0f / factors[at][0].y;
    const int64_t place = int64_t{row.first_token} * a.num_heads + head * group + at;
    *reinterpret_cast<uint2*>(a.attended + place * kHeadDim + d) = {
        pack_input(out.x * inverse, out.y * inverse, a.f16),
        pack_input(out.z * inverse, out.w * inverse, a.f16)};
  }
}

template <int32_t kHeadDim, typename Element>
void launch(const AttentionArgs& a, const Queue& queue) {
  if (a.num_decode_rows > 0) {
    const dim3 grid(a.kv.num_heads, a.shares, a.num_decode_rows);
    const auto kernel = a.fused.qkv != nullptr ? decode_kernel<kHeadDim, Element, true>
                                               : decode_kernel<kHeadDim, Element, false>;
    // Keys and values under way need cache: more than a kernel ahead with all of the shared memory
    // left of it. Few rows have no such kernel ahead.
    if (a.fused.qkv == nullptr) {
      (void)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 kSharedPercent);
    }
    enqueue(kernel, grid, kWarps * 32, 0, queue, a);
  }
}

}  // namespace

void launch_attention(const AttentionArgs& args, const Queue& queue) {
  if (args.num_items > 0) launch_prefill_attention(args, queue);
  if (args.num_decode_rows == 0) return;
  const bool narrow = args.kv.head_dim == 64;
  if (args.kv.fp8) {
    narrow ? launch<64, uint8_t>(args, queue) : launch<128, uint8_t>(args, queue);
  } else {
    narrow ? launch<64, bf16_t>(args, queue) : launch<128, bf16_t>(args, queue);
  }
}

int32_t attention_shares(int32_t decode_rows, int32_t kv_heads, int32_t multiprocessors) {
  if (decode_rows == 0) return 1;
  // As many blocks as are resident at once.
  const int32_t resident = 2 * std::min(multiprocessors, kMostMultiprocessors);
  const int32_t wanted = resident / (decode_rows * kv_heads);
  return wanted < 1 ? 1 : wanted > kMaxShares ? kMaxShares : wanted;
}

}  // namespace m2::cuda
