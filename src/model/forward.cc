#include "model/forward.h"

namespace m2 {

void Forward::run(const Batch& batch) {
  begin(batch);
  for (int32_t layer = 0; layer < num_layers(); ++layer) {
    before_attention(layer);
    attention(layer);
    after_attention(layer);
  }
}

void Forward::begin(const Batch& batch) {
  ops_.begin_step(batch);
  ops_.embed(weights_.embed, communicator_);
}

void Forward::before_attention(int32_t layer) {
  const LayerWeights& w = weights_.layers[layer];
  ops_.norm_qkv(w.input_norm, w.qkv);
}

void Forward::attention(int32_t layer) {
  const LayerWeights& w = weights_.layers[layer];
  ops_.attention(layer, w.q_norm, w.k_norm, communicator_);
}

void Forward::after_attention(int32_t layer) {
  const LayerWeights& w = weights_.layers[layer];
  ops_.o_proj_add(w.o_proj, communicator_);
  ops_.norm_route(w.post_norm, w.gate);
  ops_.experts_add(w.gate_bias, w.gate_up, w.down, communicator_);
}

void Forward::sample(std::span<const SampleRequest> requests) {
  ops_.head(requests, weights_.final_norm, weights_.lm_head);
  ops_.sample(requests, communicator_);
}

}  // namespace m2
