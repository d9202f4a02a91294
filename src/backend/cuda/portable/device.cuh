// What every kernel of the portable set shares: types of the arguments, how it is enqueued, and
// sums over a warp or a block. Plain structs, so that the host side fills them without the CUDA
// compiler.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/portable/instructions.cuh"
#include "base/dtype.h"

namespace m2::cuda {

// One matrix, or the experts of a layer one after another, as model/weights.h lays them out.
struct DeviceMatrix {
  const void* data = nullptr;     // [count, rows, columns]
  const float* scales = nullptr;  // [count, ceil(rows / 64), ceil(columns / 64)]; FP8 only
  int32_t rows = 0, columns = 0;
  bool fp8 = true;  // otherwise bf16
};

// A row of the step, beside model/batch.h's.
struct RowInfo {
  int32_t slot, first_token, num_tokens, context_tokens;
  int32_t first_block;  // into the step's block ids
};

// What a kernel leaves in host memory as it begins, so that after a fault, or when it hangs, the
// host can name it. A lone store of one thread, which nothing waits for.
struct Mark {
  uint32_t* place = nullptr;  // mapped host memory, or null: no mark
  uint32_t value = 0;
  uint64_t* stamp = nullptr;  // the same, for the device's time; null: not asked for
};

// Where kernels are enqueued. With `overlap` (compute capability 9.0 and later) a kernel may start
// before the one ahead of it has ended: up to wait_for_previous() it may read weights; the step's
// inputs, which its first kernel brings and its second waits for before it lets another start; and
// what was written before the one ahead began, where that one waits before it lets this one start.
struct Queue {
  cudaStream_t stream = nullptr;
  bool overlap = false;
  bool async_copies = true;                // compute capability 8.0 and later (async_copy.cuh)
  size_t shared_bytes = size_t{48} << 10;  // that a block may take
  // Its stamp is that of the first kernel enqueued.
  mutable Mark mark{};
};

// The compute capability, as 90 for 9.0, that the device code was made for which this device runs;
// 0: there is none for it. PTX that it compiles for itself may be for an older one.
int32_t code_generation();
// What a block may take on every device of a generation.
constexpr size_t least_shared_bytes(int32_t generation) {
  const bool largest = generation == 90 || generation == 100;
  return size_t{largest ? 227u : generation >= 80 ? 99u : generation == 75 ? 64u : 96u} << 10;
}

constexpr int32_t divide_up(int64_t a, int64_t b) { return static_cast<int32_t>((a + b - 1) / b); }

#ifdef __CUDACC__

// After wait_for_previous(), so that a kernel which hangs is not hidden by the next one's mark.
__device__ inline void leave_mark(const Mark& mark) {
  if (threadIdx.x == 0 && blockIdx.x + blockIdx.y + blockIdx.z == 0 && mark.place != nullptr) {
    *static_cast<volatile uint32_t*>(mark.place) = mark.value;
    if (mark.stamp != nullptr) *static_cast<volatile uint64_t*>(mark.stamp) = device_time();
  }
}
// What a kernel does once it has waited: what the kernels before it wrote is then whole for the
// next one too, before that one waits. let_next_start() alone may come ahead of the wait, where the
// next kernel reads before its own nothing that a kernel of the step writes but its inputs.
__device__ inline void start_next(const Mark& mark) {
  leave_mark(mark);
  let_next_start();
}

// Kernels of a chain share multiprocessors only where all of them ask for the same split of their
// memory: for the largest shared one.
template <typename Args>
void prefer_shared(void (*kernel)(Args, Mark)) {
  (void)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared);
}

// More than the queue's bytes of shared memory is refused, also by a device that has more: code
// made for an older one is tested there. `cluster`: so many blocks along z see each other's shared
// memory (cluster.cuh).
template <typename Args>
void enqueue(void (*kernel)(Args, Mark), dim3 grid, dim3 block, size_t shared_bytes,
             const Queue& queue, const Args& args, int32_t cluster = 1) {
  cudaLaunchAttribute attributes[2];
  int32_t count = 0;
  if (queue.overlap) {
    cudaLaunchAttribute& overlap = attributes[count++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    cudaLaunchAttribute& size = attributes[count++];
    size.id = cudaLaunchAttributeClusterDimension;
    size.val.clusterDim.x = size.val.clusterDim.y = 1;
    size.val.clusterDim.z = cluster;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  constexpr size_t kNoDeviceHas = size_t{1} << 30;
  config.dynamicSmemBytes = shared_bytes <= queue.shared_bytes ? shared_bytes : kNoDeviceHas;
  config.stream = queue.stream;
  config.attrs = attributes;
  config.numAttrs = count;
  (void)cudaLaunchKernelEx(&config, kernel, args,
                           queue.mark);  // the caller asks for the last error
  queue.mark.stamp = nullptr;
}

// The input of a product: f16 beside FP8 weights, bf16 beside bf16 ones.
__device__ inline uint32_t pack_input(float low, float high, bool f16) {
  return f16 ? pack_f16(low, high) : pack_bf16(low, high);
}
__device__ inline bf16_t to_bf16(float x) { return static_cast<bf16_t>(pack_bf16(x, 0.0f)); }

// Over a warp, the same in every lane.
__device__ inline float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, distance);
  }
  return x;
}

// The sum over a block of up to 1,024 threads, the same bits in every thread. `shared` holds 32
// floats and is free again when the call returns.
__device__ inline float block_sum(float x, float* shared) {
  x = warp_sum(x);
  const int warps = (blockDim.x + 31) / 32;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < warps; ++i) sum += shared[i];
  __syncthreads();
  return sum;
}

#endif  // __CUDACC__

}  // namespace m2::cuda
