#include "backend/cuda/portable/cluster_sum.cuh"
#include "backend/cuda/portable/norm.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kMaxVectors = 4;  // of 4 columns, a thread
constexpr int32_t kMaxThreads = 1024;

// Which row of sums.y is the k-th to be added to row `from`, the kernel's `row`; -1: none.
__device__ inline int64_t sum_place(const NormArgs& a, int64_t row, int64_t from, int32_t k) {
  if (k >= a.sums.count) return -1;
  if (a.sums.weights == nullptr) return k * int64_t{a.rows} + row;
  return __ldcg(a.sums.place + from * a.sums.count + k);
}
__device__ inline const float4* sum_row(const NormArgs& a, int64_t place) {
  return reinterpret_cast<const float4*>(a.sums.y + place * a.width);
}

// Four columns of what is to be added. All loads of a few rows before the first sum.
__device__ inline float4 sum_of(const NormArgs& a, int64_t row, int64_t from, int32_t i) {
  constexpr int32_t kAtOnce = 8;
  float4 sum{0, 0, 0, 0};
  for (int32_t first = 0; first < a.sums.count; first += kAtOnce) {
    float4 y[kAtOnce];
    float weights[kAtOnce];
#pragma unroll
    for (int32_t j = 0; j < kAtOnce; ++j) {
      const int64_t place = sum_place(a, row, from, first + j);
      y[j] = place < 0 ? float4{0, 0, 0, 0} : sum_row(a, place)[i];
      weights[j] = place < 0 || a.sums.weights == nullptr
                       ? 1.0f
                       : a.sums.weights[from * a.sums.count + first + j];
    }
#pragma unroll
    for (int32_t j = 0; j < kAtOnce; ++j) {
      sum.x += weights[j] * y[j].x, sum.y += weights[j] * y[j].y;
      sum.z += weights[j] * y[j].z, sum.w += weights[j] * y[j].w;
    }
  }
  return sum;
}

// What was added is left to be forgotten, where it is enough to matter and still in the cache.
constexpr int32_t kLeastDiscardRows = 17, kMostDiscardRows = 512;

// One block a row; a thread keeps its columns in registers.
__global__ void __launch_bounds__(kMaxThreads) norm_kernel(NormArgs a, Mark mark) {
  __shared__ float shared[32];
  let_next_start();  // what follows reads weights at most before its own wait
  wait_for_previous();
  leave_mark(mark);
  const int64_t row = blockIdx.x, from = a.index == nullptr ? row : a.index[row];
  auto* x = reinterpret_cast<uint2*>(a.x + from * a.width);
  const int32_t vectors = a.width / 4;
  float4 own[kMaxVectors];
  float squares = 0;
#pragma unroll
  for (int32_t n = 0; n < kMaxVectors; ++n) {
    const int32_t i = n * blockDim.x + threadIdx.x;
    if (i >= vectors) break;
    const uint2 packed = x[i];
    float4 v{bf16_low(packed.x), bf16_high(packed.x), bf16_low(packed.y), bf16_high(packed.y)};
    if (a.sums.y != nullptr) {
      const float4 sum = sum_of(a, row, from, i);
      // What is normed is what the residual keeps.
      const uint2 added{pack_bf16(v.x + sum.x, v.y + sum.y), pack_bf16(v.z + sum.z, v.w + sum.w)};
      if (a.index == nullptr) x[i] = added;
      v = {bf16_low(added.x), bf16_high(added.x), bf16_low(added.y), bf16_high(added.y)};
    }
    own[n] = v;
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  const float mean = block_sum(squares, shared) / static_cast<float>(a.width);
  const float factor = 1.0f / sqrtf(mean + a.epsilon);
  if (a.sums.y != nullptr && a.index == nullptr && a.rows >= kLeastDiscardRows &&
      a.rows <= kMostDiscardRows) {
    // The whole block has read them.
    for (int32_t i = threadIdx.x; i < vectors / 8 * a.sums.count; i += blockDim.x) {
      const int64_t place = sum_place(a, row, from, i / (vectors / 8));
      if (place >= 0) discard_line(sum_row(a, place) + i % (vectors / 8) * 8);
    }
  }
#pragma unroll
  for (int32_t n = 0; n < kMaxVectors; ++n) {
    const int32_t i = n * blockDim.x + threadIdx.x;
    if (i >= vectors) break;
    const float4 w = __ldg(reinterpret_cast<const float4*>(a.weight) + i);
    const float4 v{own[n].x * factor * w.x, own[n].y * factor * w.y, own[n].z * factor * w.z,
                   own[n].w * factor * w.w};
    reinterpret_cast<uint2*>(a.out + row * a.width)[i] = {pack_input(v.x, v.y, a.f16),
                                                          pack_input(v.z, v.w, a.f16)};
    if (a.exact_out != nullptr) reinterpret_cast<float4*>(a.exact_out + row * a.width)[i] = v;
  }
}

// Where there are clusters, one takes a row, and a thread four columns of it: a block has so little
// of a multiprocessor that the next kernel's have room beside it. Of more rows nothing is gained.
constexpr int32_t kClusterBlocks = 4, kMostClusterRows = 512;
static_assert(kMostClusterRows <= kMostDiscardRows);
constexpr int32_t kMostClusterThreads = kMaxThreads / kClusterBlocks;

__global__ void __launch_bounds__(kMostClusterThreads, kBulkCopies ? 5 : 1)
    norm_cluster_kernel(NormArgs a, Mark mark) {
  if constexpr (kBulkCopies) {
    constexpr int32_t kAtOnce = 8;
    __shared__ ClusterSums<kClusterBlocks, kMaxThreads / 32> squares;
    let_next_start();  // what follows reads weights at most before its own wait
    squares.begin();
    const auto i = static_cast<int32_t>(blockIdx.z * blockDim.x + threadIdx.x);
    const int32_t lane = threadIdx.x % 32, vectors = a.width / 4;
    const bool here = i < vectors;
    const float4 weight =
        load_ahead(reinterpret_cast<const float4*>(a.weight) + min(i, vectors - 1));
    // Sums to be added come from a product, which waits before it lets this kernel start: all but
    // they are older. An index may be newer.
    const bool ahead = a.sums.y != nullptr && a.index == nullptr;
    if (!ahead) wait_for_previous();
    const int64_t row = blockIdx.x, from = a.index == nullptr ? row : a.index[row];
    uint2* x = reinterpret_cast<uint2*>(a.x + from * a.width) + i;
    const uint2 packed = here ? __ldcg(x) : uint2{0, 0};
    // A lane's: of the sums from `first` on.
    int64_t place = -1;
    float factor = 1;
    const auto find = [&](int32_t first) {
      const int32_t k = first + lane;
      const bool is = lane < kAtOnce && k < a.sums.count;
      place = is ? sum_place(a, row, from, k) : -1;
      if (a.sums.weights != nullptr) {
        factor = is ? __ldcg(a.sums.weights + from * a.sums.count + k) : 1.0f;
      }
    };
    if (a.sums.y != nullptr) find(0);
    if (ahead) wait_for_previous();
    leave_mark(mark);
    float4 v{bf16_low(packed.x), bf16_high(packed.x), bf16_low(packed.y), bf16_high(packed.y)};
    if (a.sums.y != nullptr) {
      float4 sum{0, 0, 0, 0};
#pragma unroll 1
      for (int32_t first = 0; first < a.sums.count; first += kAtOnce) {
        if (first > 0) find(first);
        float4 y[kAtOnce];
#pragma unroll
        for (int32_t j = 0; j < kAtOnce; ++j) {
          const int64_t at = __shfl_sync(kAllLanes, place, j);
          y[j] = here && at >= 0 ? sum_row(a, at)[i] : float4{0, 0, 0, 0};
        }
#pragma unroll
        for (int32_t j = 0; j < kAtOnce; ++j) {
          const float weight_of = __shfl_sync(kAllLanes, factor, j);
          sum.x += weight_of * y[j].x, sum.y += weight_of * y[j].y;
          sum.z += weight_of * y[j].z, sum.w += weight_of * y[j].w;
        }
      }
      // What is normed is what the residual keeps.
      const uint2 added{pack_bf16(v.x + sum.x, v.y + sum.y), pack_bf16(v.z + sum.z, v.w + sum.w)};
      if (here && a.index == nullptr) *x = added;
      v = {bf16_low(added.x), bf16_high(added.x), bf16_low(added.y), bf16_high(added.y)};
    }
    squares.send({warp_sum(v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w), 0});
    if (a.sums.y != nullptr && a.index == nullptr && a.rows >= kLeastDiscardRows) {
      // The warp has read them.
#pragma unroll 1
      for (int32_t first = 0; first < a.sums.count; first += kAtOnce) {
        if (a.sums.count > kAtOnce) find(first);
#pragma unroll
        for (int32_t j = 0; j < kAtOnce; ++j) {
          const int64_t at = __shfl_sync(kAllLanes, place, j);
          if (i + 8 <= vectors && lane % 8 == 0 && at >= 0) discard_line(sum_row(a, at) + i);
        }
      }
    }
    const float mean = squares.total().x / static_cast<float>(a.width);
    const float scale = 1.0f / sqrtf(mean + a.epsilon);
    if (!here) return;
    v = {v.x * scale * weight.x, v.y * scale * weight.y, v.z * scale * weight.z,
         v.w * scale * weight.w};
    reinterpret_cast<uint2*>(a.out + row * a.width)[i] = {pack_input(v.x, v.y, a.f16),
                                                          pack_input(v.z, v.w, a.f16)};
    if (a.exact_out != nullptr) reinterpret_cast<float4*>(a.exact_out + row * a.width)[i] = v;
  }
}

__device__ inline float dot(const float4& a, const float4& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

constexpr int32_t kRouterExperts = 2;   // of a block
constexpr int32_t kGateColumns = 3072;  // whose weights are there ahead
constexpr int32_t kLoneTokenWarps = 4;  // of an expert; of more tokens than one it has one

// The warps of an expert share the columns. The expert's row of the gate, times the norm's weights,
// is there before the kernel ahead has ended; afterwards every expert norms the tokens for itself.
template <int32_t kExpertWarps>
__global__ void __launch_bounds__(kRouterExperts* kExpertWarps * 32)
    norm_router_kernel(NormRouterArgs a, Mark mark) {
  __shared__ float2 parts[2][kRouterExperts][kExpertWarps];  // of two tokens in turn
  constexpr int32_t kExpertThreads = kExpertWarps * 32;
  constexpr int32_t kGateVectors = kGateColumns / 4 / kExpertThreads;
  const int32_t thread = threadIdx.x % kExpertThreads, own_expert = threadIdx.x / kExpertThreads;
  const int32_t expert = blockIdx.x * kRouterExperts + own_expert;
  const int32_t experts = a.router.num_experts, vectors = a.norm.width / 4;
  const auto* gate = reinterpret_cast<const float4*>(
      a.router.gate + int64_t{min(expert, experts - 1)} * a.norm.width);
  const auto* norm = reinterpret_cast<const float4*>(a.norm.weight);
  const auto weigh = [](const float4& v, const float4& w) {
    return float4{v.x * w.x, v.y * w.y, v.z * w.z, v.w * w.w};
  };
  float4 weights[kGateVectors];
#pragma unroll
  for (int32_t n = 0; n < kGateVectors; ++n) {
    weights[n] = load_ahead(gate + min(n * kExpertThreads + thread, vectors - 1));
  }
#pragma unroll
  for (int32_t n = 0; n < kGateVectors; ++n) {
    weights[n] =
        weigh(weights[n], load_ahead(norm + min(n * kExpertThreads + thread, vectors - 1)));
  }
  let_next_start();  // what follows reads weights and the step's inputs at most before its wait
  wait_for_previous();
  leave_mark(mark);
  int32_t turn = 0;
  for (int32_t t = blockIdx.y; t < a.norm.rows; t += gridDim.y, turn ^= 1) {
    const auto* x = reinterpret_cast<const uint2*>(a.norm.x + int64_t{t} * a.norm.width);
    const auto widened = [](const uint2& packed) {
      return float4{bf16_low(packed.x), bf16_high(packed.x), bf16_low(packed.y),
                    bf16_high(packed.y)};
    };
    uint2 own[kGateVectors];
#pragma unroll
    for (int32_t n = 0; n < kGateVectors; ++n) {
      const int32_t i = n * kExpertThreads + thread;
      own[n] = i < vectors ? x[i] : uint2{0, 0};
    }
    float sum = 0, squares = 0;
#pragma unroll
    for (int32_t n = 0; n < kGateVectors; ++n) {
      const float4 v = widened(own[n]);
      sum += dot(weights[n], v);
      squares += dot(v, v);
    }
    for (int32_t i = kGateVectors * kExpertThreads + thread; i < vectors; i += kExpertThreads) {
      const float4 v = widened(x[i]);
      sum += dot(weigh(gate[i], norm[i]), v);
      squares += dot(v, v);
    }
    sum = warp_sum(sum);
    squares = warp_sum(squares);
    if constexpr (kExpertWarps > 1) {
      if (threadIdx.x % 32 == 0) parts[turn][own_expert][thread / 32] = {sum, squares};
      __syncthreads();
      sum = squares = 0;
#pragma unroll
      for (const float2& part : parts[turn][own_expert]) sum += part.x, squares += part.y;
    }
    const float factor = 1.0f / sqrtf(squares / static_cast<float>(a.norm.width) + a.norm.epsilon);
    if (expert >= experts) continue;
    if (thread == 0) a.router.logits[int64_t{t} * experts + expert] = sum * factor;
    // The experts share the normed token among them.
    const auto put = [&](int32_t i, const uint2& packed) {
      const float4 v = widened(packed), w = __ldg(norm + i);
      reinterpret_cast<uint2*>(a.norm.out + int64_t{t} * a.norm.width)[i] = {
          pack_input(v.x * factor * w.x, v.y * factor * w.y, a.norm.f16),
          pack_input(v.z * factor * w.z, v.w * factor * w.w, a.norm.f16)};
    };
    uint2 mine{0, 0};
#pragma unroll
    for (int32_t n = 0; n < kGateVectors; ++n) mine = n == expert ? own[n] : mine;
    int32_t i = expert * kExpertThreads + thread;
    if (expert < kGateVectors && i < vectors) put(i, mine), i += experts * kExpertThreads;
    for (; i < vectors; i += experts * kExpertThreads) put(i, x[i]);
  }
}

}  // namespace

void launch_norm(const NormArgs& args, const Queue& queue) {
  if (queue.overlap && args.rows <= kMostClusterRows && args.width / 4 <= kMaxThreads) {
    prefer_shared(norm_cluster_kernel);
    enqueue(norm_cluster_kernel, dim3(args.rows, 1, kClusterBlocks),
            divide_up(args.width / 4, 32 * kClusterBlocks) * 32, 0, queue, args, kClusterBlocks);
    return;
  }
  int32_t threads = 32;
  while (threads < kMaxThreads && threads < args.width / 4) threads += 32;
  enqueue(norm_kernel, args.rows, threads, 0, queue, args);
}

void launch_norm_router(const NormRouterArgs& args, const Queue& queue) {
  // One token is waited for; more keep as many warps busy as there is room for.
  const bool one = args.norm.rows == 1;
  const auto kernel = one ? norm_router_kernel<kLoneTokenWarps> : norm_router_kernel<1>;
  if (queue.overlap) prefer_shared(kernel);
  // Blocks of up to two tokens where there are more than four.
  const int32_t parts = args.norm.rows <= 4 ? 1 : divide_up(args.norm.rows, 2);
  enqueue(kernel, dim3(divide_up(args.router.num_experts, kRouterExperts), parts),
          kRouterExperts * (one ? kLoneTokenWarps : 1) * 32, 0, queue, args);
}

}  // namespace m2::cuda
