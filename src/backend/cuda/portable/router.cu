#include "backend/cuda/portable/router.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kTokensAPass = 4;

// A warp an expert; a pass over its row of the gate serves some tokens at once.
__global__ void router_kernel(RouterArgs a) {
  const int32_t lane = threadIdx.x % 32;
  const int32_t expert = blockIdx.x * kWarps + threadIdx.x / 32, first = blockIdx.y * kTokensAPass;
  if (expert >= a.num_experts) return;
  const auto* gate = reinterpret_cast<const float4*>(a.gate + int64_t{expert} * a.width);
  const int32_t count = min(kTokensAPass, a.num_tokens - first);
  const auto* x = reinterpret_cast<const float4*>(a.x + int64_t{first} * a.width);
  const int32_t vectors = a.width / 4;
  float sums[kTokensAPass] = {};
  for (int32_t i = lane; i < vectors; i += 32) {
    const float4 w = __ldg(gate + i);
#pragma unroll
    for (int32_t t = 0; t < kTokensAPass; ++t) {
      if (t >= count) break;
      const float4 v = __ldg(x + t * vectors + i);
      sums[t] += w.x * v.x + w.y * v.y + w.z * v.z + w.w * v.w;
    }
  }
#pragma unroll
  for (int32_t t = 0; t < kTokensAPass; ++t) {
    const float sum = warp_sum(sums[t]);
    if (lane == 0 && t < count) a.logits[int64_t{first + t} * a.num_experts + expert] = sum;
  }
}

__device__ inline float sigmoid(float x) {
  const float s = 1.0f / (1.0f + expf(-x));
  return isfinite(s) ? s : 0.0f;
}

// A warp a token; each round takes the best of what is left.
__global__ void choose_kernel(ChooseArgs a) {
  extern __shared__ float shared[];  // [warps][experts] sigmoids, then the same of choices
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const int32_t token = blockIdx.x * warps + warp;
  if (token >= a.num_tokens) return;
  if (token >= *a.real_tokens) {
    for (int32_t i = lane; i < a.count; i += 32) {
      a.chosen[int64_t{token} * a.count + i] = -1;
      a.weights[int64_t{token} * a.count + i] = 0;
    }
    return;
  }
  float* sigmoids = shared + warp * a.num_experts;
  float* choices = shared + (warps + warp) * a.num_experts;
  for (int32_t e = lane; e < a.num_experts; e += 32) {
    sigmoids[e] = sigmoid(a.logits[int64_t{token} * a.num_experts + e]);
    choices[e] = sigmoids[e] + a.bias[e];
  }
  __syncwarp();
  const int64_t place = int64_t{token} * a.count;
  float own = 0, sum = 0;  // lane i keeps the weight of round i
  for (int32_t i = 0; i < a.count; ++i) {
    float best = -INFINITY;
    int32_t at = INT32_MAX;
    for (int32_t e = lane; e < a.num_experts; e += 32) {
      if (at == INT32_MAX ? !isnan(choices[e]) : choices[e] > best) best = choices[e], at = e;
    }
    for (int32_t distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, best, distance);
      const int32_t other_at = __shfl_xor_sync(kAllLanes, at, distance);
      if (other_at != INT32_MAX &&
          (at == INT32_MAX || other > best || (other == best && other_at < at))) {
        best = other, at = other_at;
      }
    }
    if (at == INT32_MAX) at = 0;  // not a number everywhere: a broken bias
    const float s = sigmoids[at];
    sum += s;
    if (lane == i) own = s;
    __syncwarp();
    if (lane == 0) {
      a.chosen[place + i] = at;
      choices[at] = NAN;  // taken
    }
    __syncwarp();
  }
  if (lane < a.count) a.weights[place + lane] = own / (sum > 0 ? sum : 1.0f);
}

constexpr int32_t kGroupThreads = 1024, kGroupWarps = kGroupThreads / 32;

// One block. Each warp has a stretch of the pairs and its own counters, so that the order within an
// expert is that of the pairs, in every run.
__global__ void __launch_bounds__(kGroupThreads) group_kernel(GroupArgs a) {
  extern __shared__ int32_t counts[];  // [warps][experts]
  __shared__ int32_t totals[kMaxExperts];
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, experts = a.num_experts;
  for (int32_t i = threadIdx.x; i < kGroupWarps * experts; i += kGroupThreads) counts[i] = 0;
  __syncthreads();
  const int32_t stretch = divide_up(a.num_pairs, kGroupWarps);
  const int32_t begin = min(a.num_pairs, warp * stretch), end = min(a.num_pairs, begin + stretch);
  const auto local = [&](int32_t pair) {
    const int32_t e = a.chosen[pair] < 0 ? -1 : a.chosen[pair] - a.expert_begin;
    return e >= 0 && e < experts ? e : -1;
  };
  for (int32_t i = begin + lane; i < end; i += 32) {
    const int32_t e = local(i);
    if (e >= 0) atomicAdd(&counts[warp * experts + e], 1);
  }
  __syncthreads();
  for (int32_t e = threadIdx.x; e < experts; e += kGroupThreads) {
    int32_t total = 0;
    for (int32_t w = 0; w < kGroupWarps; ++w) {
      const int32_t own = counts[w * experts + e];
      counts[w * experts + e] = total;
      total += own;
    }
    totals[e] = total;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t pairs = 0, active = 0, tiles = 0;
    for (int32_t e = 0; e < experts; ++e) {
      const int32_t total = totals[e];
      a.lists.begin[e] = pairs;
      totals[e] = pairs;
      if (total > 0) a.lists.active[active++] = e;
      for (int32_t first = 0; first < total; first += kTileTokens) {
        a.lists.tile_expert[tiles] = e;
        a.lists.tile_first[tiles++] = pairs + first;
      }
      pairs += total;
    }
    a.lists.begin[experts] = pairs;
    *a.lists.num_active = active;
    *a.lists.num_tiles = tiles;
  }
  __syncthreads();
  for (int32_t i = begin + lane; i - lane < end; i += 32) {
    const int32_t e = i < end ? local(i) : -1;
    const unsigned same = __match_any_sync(kAllLanes, e);
    const int32_t before = __popc(same & ((1u << lane) - 1));
    int32_t at = -1;
    if (e >= 0) at = totals[e] + counts[warp * experts + e] + before;
    __syncwarp();
    if (e >= 0 && before == 0) counts[warp * experts + e] += __popc(same);
    __syncwarp();
    if (i < end) a.lists.place[i] = at;
    if (at >= 0) a.lists.pair_token[at] = i / a.experts_per_token;
  }
}

__global__ void combine_kernel(CombineArgs a) {
  const int64_t token = blockIdx.x;
  auto* hidden = reinterpret_cast<uint32_t*>(a.hidden + token * a.width);
  for (int32_t i = threadIdx.x; i < a.width / 2; i += blockDim.x) {
    float low = 0, high = 0;
    for (int32_t k = 0; k < a.count; ++k) {
      const int32_t place = a.place[token * a.count + k];
      if (place < 0) continue;
      const float weight = a.weights[token * a.count + k];
      const float2 y = reinterpret_cast<const float2*>(a.y + int64_t{place} * a.width)[i];
      low += weight * y.x;
      high += weight * y.y;
    }
    hidden[i] = pack_bf16(bf16_low(hidden[i]) + low, bf16_high(hidden[i]) + high);
  }
}

}  // namespace

void launch_router(const RouterArgs& a, cudaStream_t stream) {
  const dim3 grid(divide_up(a.num_experts, kWarps), divide_up(a.num_tokens, kTokensAPass));
  router_kernel<<<grid, kWarps * 32, 0, stream>>>(a);
}

void launch_choose(const ChooseArgs& a, cudaStream_t stream) {
  constexpr int32_t kTokens = 4;
  const size_t shared = size_t{2} * kTokens * a.num_experts * sizeof(float);
  choose_kernel<<<divide_up(a.num_tokens, kTokens), kTokens * 32, shared, stream>>>(a);
}

void launch_group(const GroupArgs& a, cudaStream_t stream) {
  const size_t shared = size_t{kGroupWarps} * a.num_experts * sizeof(int32_t);
  cudaFuncSetAttribute(group_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared));
  group_kernel<<<1, kGroupThreads, shared, stream>>>(a);
}

void launch_combine(const CombineArgs& a, cudaStream_t stream) {
  combine_kernel<<<a.num_tokens, 256, 0, stream>>>(a);
}

}  // namespace m2::cuda
