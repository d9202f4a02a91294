#include "backend/cuda/portable/sample.cuh"

namespace m2::cuda {
namespace {

constexpr uint16_t kInPrompt = 0x8000, kMaxCount = 0x7fff;

__device__ void add(uint16_t* entry, bool prompt) {
  auto* place = reinterpret_cast<unsigned short*>(entry);
  unsigned short old = *place, wanted;
  do {
    wanted = prompt ? old | kInPrompt : (old & kMaxCount) < kMaxCount ? old + 1 : old;
    if (wanted == old) return;
    const unsigned short seen = atomicCAS(place, old, wanted);
    if (seen == old) return;
    old = seen;
  } while (true);
}

// A block an item; the first of a slot's items does them all, in order.
__global__ void history_kernel(HistoryArgs a, Mark mark) {
  wait_for_previous();
  start_next(mark);
  const int32_t slot = a.items[blockIdx.x].slot;
  for (int32_t i = 0; i < static_cast<int32_t>(blockIdx.x); ++i) {
    if (a.items[i].slot == slot) return;
  }
  uint16_t* counts = a.counts + int64_t{slot} * a.vocab;
  for (int32_t i = blockIdx.x; i < a.num_items; ++i) {
    const HistoryItem item = a.items[i];
    if (item.slot != slot) continue;
    if (item.reset) {
      for (int32_t j = threadIdx.x; j < a.vocab; j += blockDim.x) counts[j] = 0;
      __syncthreads();
    }
    for (int32_t j = threadIdx.x; j < item.count; j += blockDim.x) {
      const int32_t id = a.ints[item.begin + j];
      if (id >= 0 && id < a.vocab) add(counts + id, j < item.num_prompt);
    }
    __syncthreads();
  }
}

}  // namespace

void launch_history(const HistoryArgs& a, const Queue& queue) {
  if (a.num_items > 0) enqueue(history_kernel, a.num_items, 256, 0, queue, a);
}

}  // namespace m2::cuda
