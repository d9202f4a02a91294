#include "backend/cuda/portable/norm.cuh"

namespace m2::cuda {
namespace {

__global__ void norm_kernel(NormArgs a) {
  __shared__ float sums[32];
  const int64_t row = blockIdx.x;
  const int64_t from = a.index == nullptr ? row : a.index[row];
  const auto* x = reinterpret_cast<const uint32_t*>(a.x + from * a.width);
  float squares = 0;
  for (int32_t i = threadIdx.x; i < a.width / 2; i += blockDim.x) {
    const float low = bf16_low(x[i]), high = bf16_high(x[i]);
    squares += low * low + high * high;
  }
  const float mean = block_sum(squares, sums) / static_cast<float>(a.width);
  const float factor = 1.0f / sqrtf(mean + a.epsilon);
  auto* out = reinterpret_cast<uint32_t*>(a.out + row * a.width);
  for (int32_t i = threadIdx.x; i < a.width / 2; i += blockDim.x) {
    const float low = bf16_low(x[i]) * factor * a.weight[2 * i];
    const float high = bf16_high(x[i]) * factor * a.weight[2 * i + 1];
    out[i] = pack_bf16(low, high);
    if (a.exact_out != nullptr) {
      reinterpret_cast<float2*>(a.exact_out + row * a.width)[i] = {low, high};
    }
  }
}

}  // namespace

void launch_norm(const NormArgs& args, cudaStream_t stream) {
  norm_kernel<<<args.rows, 256, 0, stream>>>(args);
}

}  // namespace m2::cuda
