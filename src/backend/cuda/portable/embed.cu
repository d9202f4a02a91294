#include "backend/cuda/portable/embed.cuh"

namespace m2::cuda {
namespace {

__global__ void embed_kernel(EmbedArgs a, Mark mark) {
  wait_for_previous();
  start_next(mark);
  const int32_t t = blockIdx.x;
  int32_t id = a.tokens[t];
  if (id < 0) id = a.last_token[a.rows[a.token_row[t]].slot];
  for (int32_t i = threadIdx.x; i < a.half; i += blockDim.x) {
    // As the reference: the angle is a product of floats.
    float sine, cosine;
    sincosf(static_cast<float>(a.position[t]) * a.inverse_frequency[i], &sine, &cosine);
    a.rotation[int64_t{t} * a.half + i] = {cosine, sine};
  }
  id -= a.vocab_begin;
  const bool mine = id >= 0 && id < a.vocab_count;
  const auto* from = reinterpret_cast<const uint4*>(a.embed + int64_t{mine ? id : 0} * a.width);
  auto* to = reinterpret_cast<uint4*>(a.hidden + int64_t{t} * a.width);
  for (int32_t i = threadIdx.x; i < a.width / 8; i += blockDim.x) {
    to[i] = mine ? from[i] : uint4{0, 0, 0, 0};
  }
}

}  // namespace

int32_t code_generation() {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, embed_kernel);
  return error == cudaSuccess ? attributes.ptxVersion : 0;
}

void launch_embed(const EmbedArgs& args, const Queue& queue) {
  enqueue(embed_kernel, args.num_tokens, 128, 0, queue, args);
}

}  // namespace m2::cuda
