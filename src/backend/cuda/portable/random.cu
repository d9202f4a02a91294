#include "backend/cuda/portable/random.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kThreads = 256, kVector = 16;  // bytes a thread writes

__global__ void __launch_bounds__(kThreads) random_kernel(RandomArgs a, Mark mark) {
  wait_for_previous();
  start_next(mark);
  const RandomRuns& runs = a.runs;
  const int64_t row_vectors = runs.column_count * runs.element_bytes / kVector;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= runs.row_count * row_vectors) return;
  const int64_t row = index / row_vectors, vector = index % row_vectors;
  const int64_t element = (runs.row_begin + row) * runs.columns + runs.column_begin +
                          vector * kVector / runs.element_bytes;
  // A run begins at any byte of the pool: each word is shifted out of two.
  const int64_t first =
      (RandomRuns::place(runs.key, element / RandomRuns::kRun) + element % RandomRuns::kRun) *
      runs.element_bytes;
  const auto* words = reinterpret_cast<const uint32_t*>(a.pool) + first / 4;
  const uint32_t shift = static_cast<uint32_t>(first % 4) * 8;
  uint32_t from[5];
#pragma unroll
  for (int32_t i = 0; i < 5; ++i) from[i] = __ldg(words + i);
  reinterpret_cast<uint4*>(a.out)[index] = {
      __funnelshift_r(from[0], from[1], shift), __funnelshift_r(from[1], from[2], shift),
      __funnelshift_r(from[2], from[3], shift), __funnelshift_r(from[3], from[4], shift)};
}

}  // namespace

void launch_random(const RandomArgs& args, const Queue& queue) {
  const RandomRuns& runs = args.runs;
  const int64_t vectors = runs.row_count * runs.column_count * runs.element_bytes / kVector;
  if (vectors > 0) enqueue(random_kernel, divide_up(vectors, kThreads), kThreads, 0, queue, args);
}

}  // namespace m2::cuda
