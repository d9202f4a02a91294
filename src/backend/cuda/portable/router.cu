#include "backend/cuda/portable/block_choice.cuh"
#include "backend/cuda/portable/cluster.cuh"
#include "backend/cuda/portable/router.cuh"

namespace m2::cuda {
namespace {

// One warp.
template <int32_t kLaneExperts>
__device__ void choose(const ChooseArgs& a, const float* logits, int32_t token, int32_t lane) {
  const int64_t place = int64_t{token} * a.count;
  if (token >= *a.real_tokens) {
    if (lane < a.count) a.chosen[place + lane] = -1, a.weights[place + lane] = 0;
    return;
  }
  const auto bias = Biases<kLaneExperts>::load(a.bias, a.num_experts, lane);
  const Choice choice = choose_experts(logits, bias, a.num_experts, a.count, lane);
  if (lane < a.count) {
    a.chosen[place + lane] = choice.expert;
    a.weights[place + lane] = choice.weight;
  }
}

__device__ inline void choose(const ChooseArgs& a, const float* logits, int32_t token,
                              int32_t lane) {
  a.num_experts <= 256 ? choose<8>(a, logits, token, lane)
                       : choose<kMaxExperts / 32>(a, logits, token, lane);
}

constexpr int32_t kChooseWarps = 4;
__global__ void __launch_bounds__(kChooseWarps * 32) choose_kernel(ChooseArgs a, Mark mark) {
  wait_for_previous();
  start_next(mark);
  const int32_t token = blockIdx.x * kChooseWarps + threadIdx.x / 32;
  if (token >= a.num_tokens) return;
  choose(a, a.logits + int64_t{token} * a.num_experts, token, threadIdx.x % 32);
}

// Sums of what lies before a thread: three counts in one word.
struct Counts {
  uint64_t packed;
  static constexpr int32_t kActive = 24, kTiles = 40;
  __device__ int32_t pairs() const { return static_cast<int32_t>(packed & 0xffffff); }
  __device__ int32_t active() const { return static_cast<int32_t>(packed >> kActive & 0xffff); }
  __device__ int32_t tiles() const { return static_cast<int32_t>(packed >> kTiles); }
};

// Exclusive over the block; `total` is the sum of all.
__device__ Counts scan(uint64_t own, uint64_t* shared, Counts& total) {
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint64_t sum = own;
#pragma unroll
  for (int32_t distance = 1; distance < 32; distance *= 2) {
    const uint64_t lower = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += lower;
  }
  if (lane == 31) shared[warp] = sum;
  __syncthreads();
  uint64_t all = 0, before = 0;
#pragma unroll
  for (int32_t i = 0; i < kMaxExperts / 32; ++i) {
    if (i < warp) before += shared[i];
    all += shared[i];
  }
  total = {all};
  return {before + sum - own};
}

struct GroupStep {
  ChooseArgs choose;
  GroupArgs group;
};

// One block. Each warp has a stretch of the pairs and its own counters, so that the order within an
// expert is that of the pairs, in every run. `counts`, [warps][experts], is zero.
template <int32_t kWarps>
__device__ void sort_pairs(const GroupStep& args, int32_t* counts) {
  static_assert(kWarps * 32 >= kMaxExperts);
  __shared__ int32_t begins[kMaxExperts];
  __shared__ uint64_t sums[kWarps];
  const GroupArgs& a = args.group;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, experts = a.num_experts;
  const int32_t pairs = args.choose.num_tokens * args.choose.count;
  const int32_t stretch = divide_up(pairs, kWarps);
  const int32_t begin = min(pairs, warp * stretch), end = min(pairs, begin + stretch);
  const auto local = [&](int32_t pair) {
    // Of this kernel's other blocks, perhaps: not from a cache that they do not write to.
    const int32_t chosen = __ldcg(args.choose.chosen + pair), e = chosen - a.expert_begin;
    return chosen >= 0 && e >= 0 && e < experts ? e : -1;
  };
  int32_t first = -1;  // the lane's first pair's
  for (int32_t i = begin + lane; i < end; i += 32) {
    const int32_t e = local(i);
    if (i == begin + lane) first = e;
    if (e >= 0) atomicAdd(&counts[warp * experts + e], 1);
  }
  __syncthreads();
  const auto e = static_cast<int32_t>(threadIdx.x);
  int32_t total = 0;
  if (e < experts) {
#pragma unroll 8
    for (int32_t w = 0; w < kWarps; ++w) {
      const int32_t own = counts[w * experts + e];
      counts[w * experts + e] = total;
      total += own;
    }
  }
  const int32_t own_tiles = divide_up(total, a.tile_tokens);
  Counts all{};
  const Counts before = scan(uint64_t(total) | uint64_t(total > 0) << Counts::kActive |
                                 uint64_t(own_tiles) << Counts::kTiles,
                             sums, all);
  if (e < experts) {
    begins[e] = before.pairs();
    a.lists.begin[e] = before.pairs();
    if (total > 0) a.lists.active[before.active()] = e;
    for (int32_t i = 0; i < own_tiles; ++i) {
      const int32_t done = i * a.tile_tokens;
      a.lists.tiles[before.tiles() + i] = {e, before.pairs() + done,
                                           min(a.tile_tokens, total - done)};
    }
  }
  if (e == 0) {
    a.lists.begin[experts] = all.pairs();
    *a.lists.num_active = all.active();
    *a.lists.num_tiles = all.tiles();
  }
  __syncthreads();
  for (int32_t i = begin + lane; i - lane < end; i += 32) {
    const int32_t expert = i >= end ? -1 : i == begin + lane ? first : local(i);
    const unsigned same = __match_any_sync(kAllLanes, expert);
    const int32_t lower = __popc(same & ((1u << lane) - 1));
    int32_t at = -1;
    if (expert >= 0) at = begins[expert] + counts[warp * experts + expert] + lower;
    __syncwarp();
    if (expert >= 0 && lower == 0) counts[warp * experts + expert] += __popc(same);
    __syncwarp();
    if (i < end) a.lists.place[i] = at;
    if (at >= 0) a.lists.pair_token[at] = i / args.choose.count;
  }
}

template <int32_t kThreads>
__global__ void __launch_bounds__(kThreads) group_kernel(GroupStep args, Mark mark) {
  M2_DYNAMIC_SHARED(int32_t, 4, counts);
  for (int32_t i = threadIdx.x; i < kThreads / 32 * args.group.num_experts; i += kThreads) {
    counts[i] = 0;
  }
  wait_for_previous();
  start_next(mark);
  __syncthreads();
  sort_pairs<kThreads / 32>(args, counts);
}

// For logits that are still sums to be made: a block chooses for a token, and the one that is last
// sorts the pairs of all.
constexpr int32_t kMostThreads = 1024, kSumThreads = 512;
constexpr size_t kStaticBytes = size_t{4} << 10;  // of shared memory, at most
__global__ void __launch_bounds__(kSumThreads) sum_choose_kernel(GroupStep args, Mark mark) {
  M2_DYNAMIC_SHARED(int32_t, 4, counts);
  __shared__ float logits[kMaxExperts];
  __shared__ bool is_last;
  const ChooseArgs& a = args.choose;
  for (int32_t i = threadIdx.x; i < kSumThreads / 32 * args.group.num_experts; i += kSumThreads) {
    counts[i] = 0;
  }
  wait_for_previous();
  start_next(mark);
  const int64_t stride = int64_t{a.num_tokens} * a.num_experts;
  for (int32_t e = threadIdx.x; e < a.num_experts; e += kSumThreads) {
    const float* from = a.logits + int64_t{blockIdx.x} * a.num_experts + e;
    float sum = 0;
#pragma unroll 16
    for (int32_t i = 0; i < a.splits; ++i) sum += from[i * stride];
    logits[e] = sum;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    choose(a, logits, blockIdx.x, threadIdx.x);
    __threadfence();
    __syncwarp();
    if (threadIdx.x == 0) {
      is_last = atomicAdd(a.done, 1) == a.num_tokens - 1;
      if (is_last) *a.done = 0;
    }
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  sort_pairs<kSumThreads / 32>(args, counts);
}

constexpr int32_t kFewTokens = 8, kFewPairs = 64, kFewThreads = 256;

// By a block. A thread has a pair, or none: `chosen` is its expert.
__device__ void sort_few(const GroupStep& args, int32_t chosen) {
  __shared__ int32_t keys[kFewPairs];
  __shared__ bool firsts[kFewPairs];
  const ExpertLists& lists = args.group.lists;
  const int32_t i = threadIdx.x, pairs = args.choose.num_tokens * args.choose.count;
  const int32_t expert = chosen - args.group.expert_begin;
  const bool here = chosen >= 0 && expert >= 0 && expert < args.group.num_experts;
  const int32_t key = here ? expert : INT32_MAX;
  if (i < kFewPairs) keys[i] = key;
  __syncthreads();
  int32_t lower = 0, same = 0, same_before = 0;
  if (i < pairs) {
#pragma unroll 16
    for (int32_t j = 0; j < kFewPairs; ++j) {
      const int32_t other = keys[j];
      lower += other < key;
      same += other == key;
      same_before += other == key && j < i;
    }
  }
  const bool first = here && same_before == 0;
  if (i < kFewPairs) firsts[i] = first;
  const int32_t active_experts = __syncthreads_count(first);
  if (i >= pairs) return;
  int32_t active = 0;
#pragma unroll 16
  for (int32_t j = 0; j < kFewPairs; ++j) active += firsts[j] && keys[j] < key;
  lists.place[i] = here ? lower + same_before : -1;
  if (here) lists.pair_token[lower + same_before] = i / args.choose.count;
  if (first) {
    lists.active[active] = expert;
    lists.tiles[active] = {expert, lower, same};
    lists.begin[expert] = lower;
    lists.begin[expert + 1] = lower + same;  // where the next one in use begins, if it is that
  }
  if (i == 0) *lists.num_active = *lists.num_tiles = active_experts;
}

// For few tokens: a warp of one block chooses for each, and the block sorts all pairs.
__global__ void __launch_bounds__(kFewThreads) few_kernel(GroupStep args, Mark mark) {
  static_assert(kFewTokens * 32 <= kFewThreads);
  wait_for_previous();
  start_next(mark);
  const ChooseArgs& a = args.choose;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, i = threadIdx.x;
  if (warp < a.num_tokens) choose(a, a.logits + int64_t{warp} * a.num_experts, warp, lane);
  __syncthreads();
  sort_few(args, i < a.num_tokens * a.count ? a.chosen[i] : -1);
}

// Where there are clusters, a block of one chooses for a token, and the first one sorts what all
// send to it.
constexpr int32_t kFewChoices = 16;
__global__ void __launch_bounds__(kFewThreads) few_cluster_kernel(GroupStep args, Mark mark) {
  if constexpr (kBulkCopies) {
    __shared__ BlockChoice<kFewThreads / 32, kFewChoices> choice;
    __shared__ int32_t experts[kFewChoices];
    __shared__ float2 sent[kFewPairs / 2];  // two pairs each
    __shared__ uint64_t full;
    const ChooseArgs& a = args.choose;
    const int32_t token = blockIdx.z, i = threadIdx.x, pairs = a.num_tokens * a.count;
    if (token == 0) expect_from_cluster(&full, pairs * sizeof(int32_t));
    arrive_cluster();
    if (token >= a.num_tokens) return;
    const float bias = load_ahead(a.bias + min(i, a.num_experts - 1));
    const bool real = token < *a.real_tokens;  // the step's input
    wait_for_previous();
    start_next(mark);
    const auto logit = [&] { return a.logits[int64_t{token} * a.num_experts + i]; };
    choice.choose(logit, bias, a.num_experts, a.count, experts);
    wait_cluster();  // for the first one's barrier
    if (i < a.count / 2) {
      const auto expert = [&](int32_t n) {
        return __uint_as_float(static_cast<uint32_t>(real ? experts[2 * i + n] : -1));
      };
      send_cluster(&sent[token * a.count / 2 + i], float2{expert(0), expert(1)}, &full, 0);
    }
    if (i < a.count) {
      const int64_t place = int64_t{token} * a.count + i;
      a.chosen[place] = real ? experts[i] : -1;
      a.weights[place] = real ? choice.weight(i, a.count) : 0;
    }
    if (token > 0) return;
    wait_barrier(&full, 0);
    int32_t chosen = -1;
    if (i < pairs) {
      const float2 two = sent[i / 2];
      chosen = static_cast<int32_t>(__float_as_uint(i % 2 == 0 ? two.x : two.y));
    }
    sort_few(args, chosen);
  }
}

}  // namespace

void launch_route(const RouteArgs& a, const Queue& queue) {
  const int32_t tokens = a.choose.num_tokens;
  if (tokens <= kFewTokens && tokens * a.choose.count <= kFewPairs && a.choose.splits == 1) {
    const GroupStep args{a.choose, a.group};
    if (queue.overlap && a.choose.num_experts <= kFewThreads && a.choose.count <= kFewChoices &&
        a.choose.count % 2 == 0) {
      prefer_shared(few_cluster_kernel);
      enqueue(few_cluster_kernel, dim3(1, 1, kFewTokens), kFewThreads, 0, queue, args, kFewTokens);
    } else {
      enqueue(few_kernel, 1, kFewThreads, 0, queue, args);
    }
    return;
  }
  const bool sums = a.choose.splits > 1;
  const auto counts_bytes = [&](int32_t threads) {
    return size_t(threads) / 32 * a.group.num_experts * sizeof(int32_t);
  };
  const bool many = !sums && counts_bytes(kMostThreads) + kStaticBytes <= queue.shared_bytes;
  const int32_t threads = many ? kMostThreads : kSumThreads;
  const size_t shared_bytes = counts_bytes(threads);
  const auto kernel = sums   ? sum_choose_kernel
                      : many ? group_kernel<kMostThreads>
                             : group_kernel<kSumThreads>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  if (queue.overlap) prefer_shared(kernel);
  if (!sums) {
    enqueue(choose_kernel, divide_up(tokens, kChooseWarps), kChooseWarps * 32, 0, queue, a.choose);
  }
  enqueue(kernel, sums ? tokens : 1, threads, shared_bytes, queue, GroupStep{a.choose, a.group});
}

}  // namespace m2::cuda
