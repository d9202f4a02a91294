#include <algorithm>

#include "backend/cuda/portable/upload.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kThreads = 256, kMostBlocks = 32;

__global__ void __launch_bounds__(kThreads) upload_kernel(UploadArgs a, Mark mark) {
  const auto thread = static_cast<int32_t>(blockIdx.x * kThreads + threadIdx.x);
  const auto threads = static_cast<int32_t>(gridDim.x * kThreads);
  // The host wrote it before the launch: on its way while the kernel ahead still works.
  uint4 first[kMostUploadRanges];
#pragma unroll
  for (int32_t n = 0; n < kMostUploadRanges; ++n) {
    const int32_t i = a.ranges[n].begin + thread;
    if (n < a.num_ranges && i < a.ranges[n].end) first[n] = load_host(a.from + i);
  }
  wait_for_previous();
  start_next(mark);
#pragma unroll
  for (int32_t n = 0; n < kMostUploadRanges; ++n) {
    if (n >= a.num_ranges) break;
    int32_t i = a.ranges[n].begin + thread;
    if (i < a.ranges[n].end) a.to[i] = first[n];
    for (i += threads; i < a.ranges[n].end; i += threads) a.to[i] = load_host(a.from + i);
  }
}

}  // namespace

void launch_upload(const UploadArgs& args, const Queue& queue) {
  int32_t longest = 0;
  for (int32_t n = 0; n < args.num_ranges; ++n) {
    longest = std::max(longest, args.ranges[n].end - args.ranges[n].begin);
  }
  if (longest == 0) return;
  // Without a mark: a store to the host may hold up the kernel's end.
  Queue unmarked = queue;
  unmarked.mark = {};
  enqueue(upload_kernel, std::min(divide_up(longest, kThreads), kMostBlocks), kThreads, 0, unmarked,
          args);
}

}  // namespace m2::cuda
