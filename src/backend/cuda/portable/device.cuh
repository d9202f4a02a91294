// What every kernel of the portable set shares: types of the arguments, the tensor core
// instruction, widening of FP8, and sums over a warp or a block. Plain structs, so that the host
// side fills them without the CUDA compiler.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/portable/clang.cuh"
#include "backend/cuda/portable/older.cuh"
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
};

// Where kernels are enqueued. With `overlap` (compute capability 9.0 and later) a kernel may start
// before the one ahead of it has ended: up to wait_for_previous() it may read what no kernel of a
// step writes, such as weights.
struct Queue {
  cudaStream_t stream = nullptr;
  bool overlap = false;
  bool async_copies = true;                // compute capability 8.0 and later (async_copy.cuh)
  size_t shared_bytes = size_t{48} << 10;  // that a block may take
  Mark mark{};
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

// Every kernel calls this before it touches what another kernel wrote or reads, and so before it
// writes: then all kernels ahead of it have ended.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets the next kernel start as soon as every block of this one has come here or ended. Only after
// wait_for_previous(): what the kernels before this one wrote is then whole for the next one too.
__device__ inline void start_next(const Mark& mark) {
  if (threadIdx.x == 0 && blockIdx.x + blockIdx.y + blockIdx.z == 0 && mark.place != nullptr) {
    *static_cast<volatile uint32_t*>(mark.place) = mark.value;
  }
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Reads weights before wait_for_previous(), which the compiler may not move such a read past.
__device__ inline float load_ahead(const float* from) {
  float x;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(x) : "l"(from));
  return x;
}
__device__ inline float4 load_ahead(const float4* from) {
  float4 x;
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
               : "l"(from));
  return x;
}

// More than the queue's bytes of shared memory is refused, also by a device that has more: code
// made for an older one is tested there.
template <typename Args>
void enqueue(void (*kernel)(Args, Mark), dim3 grid, dim3 block, size_t shared_bytes,
             const Queue& queue, const Args& args) {
  cudaLaunchAttribute overlap;
  if (queue.overlap) {
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  constexpr size_t kNoDeviceHas = size_t{1} << 30;
  config.dynamicSmemBytes = shared_bytes <= queue.shared_bytes ? shared_bytes : kNoDeviceHas;
  config.stream = queue.stream;
  config.attrs = &overlap;
  config.numAttrs = queue.overlap ? 1 : 0;
  (void)cudaLaunchKernelEx(&config, kernel, args,
                           queue.mark);  // the caller asks for the last error
}

// Of 128 bytes that nobody reads before they are written again: a cache need not write them back.
__device__ inline void discard_line(const void* line) {
#if __CUDA_ARCH__ >= 800
  asm volatile("discard.global.L2 [%0], 128;" ::"l"(line) : "memory");
#endif
}

inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to nearest even; `low` goes to the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return older::pack_bf16(low, high);
#endif
}
// The same in f16, held within its range.
__device__ inline uint32_t pack_f16(float low, float high) {
  constexpr float kLargest = 65504.0f;
  low = fminf(fmaxf(low, -kLargest), kLargest);
  high = fminf(fmaxf(high, -kLargest), kLargest);
#if __CUDA_ARCH__ >= 800
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return older::pack_f16(low, high);
#endif
}
// The input of a product: f16 beside FP8 weights, bf16 beside bf16 ones.
__device__ inline uint32_t pack_input(float low, float high, bool f16) {
  return f16 ? pack_f16(low, high) : pack_bf16(low, high);
}
__device__ inline bf16_t to_bf16(float x) { return static_cast<bf16_t>(pack_bf16(x, 0.0f)); }

// d += a * b on one warp's tensor core: a [16 rows, 16], b [16, 8 columns], d fp32. With g = lane /
// 4 and t = lane % 4 a lane holds a0 and a2 of row g, a1 and a3 of row g + 8, b of column g, and
// d0, d1 of row g, d2, d3 of row g + 8, columns 2t and 2t + 1. Which four of the 16 inner indices
// belong to t is free, as long as a and b agree: we take consecutive ones.
template <bool kF16 = false>
__device__ inline void mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                           uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ < 800
  const float4 before{d[0], d[1], d[2], d[3]};
  const float4 sums = kF16 ? older::multiply_f16(before, a0, a1, a2, a3, b0, b1)
                           : older::multiply_bf16(before, a0, a1, a2, a3, b0, b1);
  d[0] = sums.x, d[1] = sums.y, d[2] = sums.z, d[3] = sums.w;
#else
  if constexpr (kF16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
#endif
}

// Two e4m3 as f16: exact. Devices that have an instruction for it use that. For the others, the
// bits of e4m3 moved to those of f16 give the value times 2^-8, subnormals too; a fused
// multiply-add takes that back.
#if __CUDA_ARCH__ >= 890
__device__ inline uint32_t widen_low(uint32_t four) {  // bytes 0 and 1
  uint32_t out;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.rn.f16x2.e4m3x2 %0, low;}"
      : "=r"(out)
      : "r"(four));
  return out;
}
__device__ inline uint32_t widen_high(uint32_t four) {  // bytes 2 and 3
  uint32_t out;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.rn.f16x2.e4m3x2 %0, high;}"
      : "=r"(out)
      : "r"(four));
  return out;
}
#else
__device__ inline uint32_t widen_spread(uint32_t spread) {  // in the upper bytes of the halves
  const uint32_t bits = (spread & 0x80008000u) | ((spread >> 1) & 0x3f803f80u);
  uint32_t out;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(bits), "r"(0x5c005c00u), "r"(0x80008000u));
  return out;
}
__device__ inline uint32_t widen_low(uint32_t four) {
  return widen_spread(__byte_perm(four, 0, 0x1404));
}
__device__ inline uint32_t widen_high(uint32_t four) {
  return widen_spread(__byte_perm(four, 0, 0x3424));
}
#endif

// Two e4m3 as bf16: exact. Moved to the bits of bf16 they are the value times 2^-120.
__device__ inline uint32_t widen_bf16_spread(uint32_t spread) {  // in the upper bytes of the halves
  const uint32_t bits = (spread & 0x80008000u) | ((spread >> 4) & 0x07f007f0u);
#if __CUDA_ARCH__ >= 800
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(bits), "r"(0x7b807b80u), "r"(0x80008000u));
  return out;
#else
  return older::scale_bf16(bits, 0x1p120f);
#endif
}
__device__ inline uint32_t widen_bf16_low(uint32_t four) {
  return widen_bf16_spread(__byte_perm(four, 0, 0x1404));
}
__device__ inline uint32_t widen_bf16_high(uint32_t four) {
  return widen_bf16_spread(__byte_perm(four, 0, 0x3424));
}

// Over a warp, the same in every lane.
__device__ inline uint32_t warp_max(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kAllLanes, x);
#else
  return older::warp_max(x);
#endif
}
__device__ inline uint32_t warp_min(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(kAllLanes, x);
#else
  return older::warp_min(x);
#endif
}
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
