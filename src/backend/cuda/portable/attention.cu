// Decode rows: a block takes one row and KV head and a share of its keys, in one of these forms.
//   one row      norms for itself; a warp's first groups of keys, in registers and in a ring, begin
//                before the kernel ahead has ended (attention_held.cuh); blocks join by clusters,
//                and clusters like the blocks of the others
//   fused        of a few rows: the same with rings of more stages alone, without clusters
//   others       q, the new keys and values are there already; rings where there are bulk copies
// Without clusters the block of a row and head that is last joins what all have left in memory.
#include <algorithm>

#include "backend/cuda/portable/attention_fresh.cuh"
#include "backend/cuda/portable/attention_group.cuh"
#include "backend/cuda/portable/attention_held.cuh"
#include "backend/cuda/portable/attention_join.cuh"
#include "backend/cuda/portable/attention_ring.cuh"
#include "backend/cuda/portable/cluster.cuh"

namespace m2::cuda {
namespace {

using namespace decode;

constexpr int kSharedPercent = 44;  // of a multiprocessor's: 100 KiB, for two blocks without rings
constexpr int32_t kClusterBlocks = 8;
constexpr int32_t kManyStages = 3;  // of a warp's ring, where there is more than one row
// Groups of keys a warp: at most while one cluster has a row, and at least when several have it.
constexpr int32_t kMostOfOne = 5, kLeastOfSeveral = 2;

// What a warp has of shared memory: its ring, and later its parts; and what two warps have.
template <int32_t kHeadDim, typename Element, int32_t kHeads, int32_t kStages>
constexpr int32_t warp_bytes() {
  const int32_t ring = kStages * 2 * kKeyGroup * kHeadDim * int32_t{sizeof(Element)};
  const int32_t parts = Parts<kHeadDim, kHeads>::kBytes;
  return divide_up(ring > parts ? ring : parts, 128) * 128;
}
template <int32_t kHeadDim, typename Element, int32_t kHeads, int32_t kStages>
constexpr int32_t two_warps_bytes() {
  return (kStages == 1 ? kHeldStagesOfTwo : 2) * warp_bytes<kHeadDim, Element, kHeads, kStages>();
}

// How many clusters (of one block: blocks) have keys of a row with so many groups.
template <int32_t kCluster>
__device__ int32_t clusters_in_use(int32_t groups, int32_t most) {
  constexpr int32_t kClusterWarps = kCluster * kWarps;
  if (kCluster > 1 && groups <= kMostOfOne * kClusterWarps) return 1;
  const int32_t least = kCluster > 1 ? kLeastOfSeveral : 1;
  return min(most, max(1, groups / (least * kClusterWarps)));
}

// Blocks of a cluster have consecutive shares, and each joins a part of the outputs, which all send
// to it. kStages: of rings; 0: none; 1: the form of one row, with what Held says.
template <int32_t kHeadDim, typename Element, bool kFused, int32_t kHeads, int32_t kStages,
          int32_t kCluster>
__device__ void decode_share(const AttentionArgs& a, const Mark& mark) {
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);  // of the warps
  [[maybe_unused]] __shared__ Fresh<kHeadDim, kHeads> fresh;
  __shared__ float2 softmaxes[kWarps][kHeads];
  constexpr bool kHolds = kStages == 1;
  constexpr int32_t kRingStages = kStages > 1 ? kStages : 2;
  [[maybe_unused]] __shared__ uint64_t full[kWarps][kRingStages];
  [[maybe_unused]] __shared__ Received<kHeadDim, kHeads, kCluster> received;
  __shared__ bool is_last;
  // What earlier steps stored may be read while the kernel ahead still works.
  const bool ahead = kFused || a.apart;
  if (!ahead) {
    wait_for_previous();
    start_next(mark);
  }
  const int32_t head = blockIdx.x, share = blockIdx.z, group = a.num_heads / a.kv.num_heads;
  const RowInfo row = a.rows[a.decode_rows[blockIdx.y]];
  const int32_t* blocks = a.blocks + row.first_block;
  // Whole groups of keys, spread evenly over all warps of the shares in use.
  const int32_t groups = divide_up(row.context_tokens + 1, kKeyGroup);
  const int32_t clusters = clusters_in_use<kCluster>(groups, a.shares / kCluster);
  const int32_t shares = clusters * kCluster;
  if (share >= shares) return;
  // The outputs that the block joins, four at a time.
  const int32_t outputs = group * kHeadDim / 4, own_outputs = divide_up(outputs, kCluster);
  [[maybe_unused]] const int32_t rank = share % kCluster;
  const int32_t first_output = min(outputs, rank * own_outputs);
  const int32_t last_output = min(outputs, first_output + own_outputs);
  if constexpr (kCluster > 1) {
    expect_from_cluster(&received.full, kCluster * (last_output - first_output) *
                                            (sizeof(float4) + sizeof(float2)));
    arrive_cluster();
  }
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t index = share * kWarps + warp, warps = shares * kWarps;
  const auto begin = static_cast<int32_t>(uint32_t(index) * uint32_t(groups) / uint32_t(warps));
  const auto end = static_cast<int32_t>(uint32_t(index + 1) * uint32_t(groups) / uint32_t(warps));
  // Up to where keys are read ahead. The last group has the new one, which the fused form puts in
  // itself; otherwise the kernel ahead stores it.
  const int32_t early = kFused ? end : ahead ? min(end, groups - 1) : begin;
  // A group of the new key alone is not read.
  const int32_t within = row.context_tokens % kKeyGroup;
  [[maybe_unused]] const int32_t fetched_end = within == 0 ? min(end, groups - 1) : end;
  constexpr int32_t kWarpBytes = warp_bytes<kHeadDim, Element, kHeads, kStages>();
  constexpr int32_t kTwoBytes = two_warps_bytes<kHeadDim, Element, kHeads, kStages>();
  const auto group_at = [&](int32_t n) { return a.kv.group_at(blocks, n * kKeyGroup, head); };
  unsigned char* own_memory = memory + warp / 2 * kTwoBytes + warp % 2 * kWarpBytes;
  [[maybe_unused]] const Ring<kHeadDim, Element, kRingStages> ring{
      reinterpret_cast<Element*>(own_memory), full[warp]};
  [[maybe_unused]] Group<kHeadDim, Element> keys;
  [[maybe_unused]] Held<kHeadDim, Element> held{
      {ring.memory, ring.full}, held_stages(warp), begin, end, fetched_end};
  Queries<kHeadDim> s;
  s.clear();
  for (int32_t half = 0; half < 2; ++half) {
    s.last[half] = half * 8 + g < group ? row.context_tokens : -1;
  }
  int64_t newest_place = 0;
  if constexpr (kFused) newest_place = group_at(groups - 1);
  if constexpr (kStages > 0) {
    if (lane == 0) ring.init();
    __syncwarp();
    const int32_t fetched = kHolds ? fetched_end : early;
    const int32_t stages = kHolds ? held.stages : kStages;
    if (lane < stages && begin + lane < fetched) ring.fetch(a, group_at(begin + lane), lane);
  } else if (begin < early) {
    keys.load(a, group_at(begin), g, t);
  }
  if constexpr (kFused) fresh.load_norms(a.fused, head, group);
  if constexpr (kHolds) held.take_first(a, group_at, lane);
  if (ahead) {
    // What follows the form of one row reads weights at most before its wait; beside more rows that
    // would take of memory's rate what their keys need.
    if constexpr (kHolds) let_next_start();
    wait_for_previous();
    if constexpr (!kHolds) let_next_start();
    leave_mark(mark);
  }
  const bf16_t *low = nullptr, *high = nullptr;  // the queries of rows g and g + 8
  if constexpr (kFused) {
    fresh.make(a, row, newest_place, head, share == shares - 1);
    low = fresh.queries[g], high = kHeads > 8 ? fresh.queries[kHeads > 8 ? g + 8 : 0] : nullptr;
  } else {
    low = a.q + (int64_t{row.first_token} * a.num_heads + head * group + g) * kHeadDim;
    high = low + 8 * kHeadDim;
  }
  s.load(s.last[0] >= 0 ? low : nullptr, s.last[1] >= 0 ? high : nullptr, t);
  if constexpr (kStages > 0) {
    Newest newest;
    if constexpr (kFused) {
      newest = {groups - 1, within, fresh.key, fresh.value};
    } else {
      fence_copies();
      if (lane < kStages && begin + lane >= early && begin + lane < end) {
        ring.fetch(a, group_at(begin + lane), lane);
      }
    }
    if constexpr (kHolds) {
      held.attend(s, a, group_at, kHeads > 8, newest, lane);
    } else {
      attend(s, ring, a, blocks, head, begin, end, kHeads > 8, newest, lane);
    }
  } else {
    if (begin >= early && begin < end) keys.load(a, group_at(begin), g, t);
    attend(s, keys, a, blocks, head, begin * kKeyGroup, end * kKeyGroup, g, t);
  }
  const Parts<kHeadDim, kHeads> parts{memory, kWarpBytes, kTwoBytes, softmaxes};
  parts.put(s, group, warp, g, t);
  __syncthreads();

  const int64_t first = int64_t{row.first_token} * a.num_heads + head * group;
  const int64_t part = int64_t{blockIdx.y} * a.num_heads + head * group;
  const auto of_warps = [&](int32_t at, int32_t d) {
    return Joined::of<kWarps>(kWarps, [&](int32_t n, float4& out, float2& softmax) {
      out = *reinterpret_cast<const float4*>(parts.outs(n, at) + d);
      softmax = softmaxes[n][at];
    });
  };
  if constexpr (kCluster > 1) {
    wait_cluster();  // for the others' barriers
#pragma unroll 1
    for (int32_t i = threadIdx.x; i < outputs; i += kWarps * 32) {
      const Joined joined = of_warps(i / (kHeadDim / 4), i % (kHeadDim / 4) * 4);
      const int32_t to = i / own_outputs, place = rank * own_outputs + i % own_outputs;
      send_cluster(&received.outs[place], joined.out, &received.full, to);
      send_cluster(&received.softmax[place], joined.softmax, &received.full, to);
    }
    wait_barrier(&received.full, 0);
  }
#pragma unroll 1
  for (int32_t i = first_output + threadIdx.x; i < last_output; i += kWarps * 32) {
    const int32_t at = i / (kHeadDim / 4), d = i % (kHeadDim / 4) * 4;
    Joined joined;
    if constexpr (kCluster > 1) {
      joined = Joined::of<kCluster>(kCluster, [&](int32_t n, float4& out, float2& softmax) {
        const int32_t place = n * own_outputs + i - first_output;
        out = received.outs[place], softmax = received.softmax[place];
      });
    } else {
      joined = of_warps(at, d);
    }
    if (clusters == 1) {
      joined.put(a, (first + at) * kHeadDim + d);
    } else {
      const int64_t place = (part + at) * a.shares + share / kCluster;
      *reinterpret_cast<float4*>(a.partial + place * kHeadDim + d) = joined.out;
      if (d == 0) a.softmax[place] = joined.softmax;
    }
  }
  if (clusters == 1) return;
  // Whichever block of the row and head comes last joins the clusters' parts, in their order.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* done = a.done + blockIdx.y * a.kv.num_heads + head;
    is_last = atomicAdd(done, 1) == shares - 1;
    if (is_last) *done = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
#pragma unroll 1
  for (int32_t i = threadIdx.x; i < outputs; i += kWarps * 32) {
    const int32_t at = i / (kHeadDim / 4), d = i % (kHeadDim / 4) * 4;
    const int64_t place = (part + at) * a.shares;
    const Joined joined = Joined::of_many(clusters, [&](int32_t n, float4& out, float2& softmax) {
      out = __ldcg(reinterpret_cast<const float4*>(a.partial + (place + n) * kHeadDim + d));
      softmax = __ldcg(a.softmax + place + n);
    });
    joined.put(a, (first + at) * kHeadDim + d);
  }
}

template <int32_t kHeadDim, typename Element, bool kFused, int32_t kHeads, int32_t kStages,
          int32_t kCluster>
__global__ void __launch_bounds__(kWarps * 32) decode_kernel(AttentionArgs a, Mark mark) {
  static_assert(kStages > 0 || (!kFused && kCluster == 1));
  if constexpr (kStages == 0 || kBulkCopies) {
    decode_share<kHeadDim, Element, kFused, kHeads, kStages, kCluster>(a, mark);
  }
}

template <int32_t kHeadDim, typename Element, bool kFused, int32_t kHeads, int32_t kStages,
          int32_t kCluster = 1>
void launch_form(const AttentionArgs& a, const Queue& queue) {
  AttentionArgs args = a;
  // Not as many blocks are resident at once where clusters need theirs in one part of the GPU.
  if (kCluster > 1) args.shares = std::max(1, a.shares * 3 / 4 / kCluster) * kCluster;
  const auto kernel = decode_kernel<kHeadDim, Element, kFused, kHeads, kStages, kCluster>;
  constexpr size_t bytes = kWarps / 2 * two_warps_bytes<kHeadDim, Element, kHeads, kStages>();
  (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes));
  if (kStages > 0) {
    prefer_shared(kernel);
  } else {
    // Keys and values under way need cache: more than a kernel ahead with all of the shared memory
    // left of it.
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                               kSharedPercent);
  }
  enqueue(kernel, dim3(a.kv.num_heads, a.num_decode_rows, args.shares), kWarps * 32, bytes, queue,
          args, kCluster);
}

template <int32_t kHeadDim, typename Element, int32_t kHeads>
void launch_rings(const AttentionArgs& a, const Queue& queue) {
  if (a.fused.qkv == nullptr) {
    launch_form<kHeadDim, Element, false, kHeads, kManyStages>(a, queue);
  } else if (a.num_decode_rows == 1 && a.shares >= kClusterBlocks) {
    launch_form<kHeadDim, Element, true, kHeads, 1, kClusterBlocks>(a, queue);
  } else {
    launch_form<kHeadDim, Element, true, kHeads, kManyStages>(a, queue);
  }
}

template <int32_t kHeadDim, typename Element>
void launch(const AttentionArgs& a, const Queue& queue) {
  // The fused form is for these alone (single.cuh).
  const bool rings = queue.overlap && queue.shared_bytes >= least_shared_bytes(90);
  if (!rings) {
    launch_form<kHeadDim, Element, false, kMaxGroup, 0>(a, queue);
  } else if (a.num_heads / a.kv.num_heads <= 8) {
    launch_rings<kHeadDim, Element, 8>(a, queue);
  } else {
    launch_rings<kHeadDim, Element, kMaxGroup>(a, queue);
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
  return std::clamp(resident / (decode_rows * kv_heads), 1, kMaxShares);
}

}  // namespace m2::cuda
