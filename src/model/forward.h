// The forward pass of the MiniMax-M2 family, written in the ops of model/ops.h.
//
// Thread-safety: one rank thread. Weights, ops and communicator outlive it.
#pragma once

#include <cstdint>
#include <span>

#include "model/batch.h"
#include "model/ops.h"
#include "model/weights.h"

namespace m2 {

class Forward {
 public:
  Forward(const Weights& weights, Ops& ops, Communicator& communicator)
      : weights_(weights), ops_(ops), communicator_(communicator) {}

  // The whole step: every layer over every token of the batch.
  void run(const Batch& batch);
  // Logits of the requests' tokens, then logprobs and draws; after run() of the same step.
  void sample(std::span<const SampleRequest> requests);

  // The parts that run() walks over. A recorder that keeps attention out of its graphs walks over
  // them too.
  void begin(const Batch& batch);
  void before_attention(int32_t layer);
  void attention(int32_t layer);
  void after_attention(int32_t layer);
  int32_t num_layers() const { return static_cast<int32_t>(weights_.layers.size()); }

 private:
  const Weights& weights_;
  Ops& ops_;
  Communicator& communicator_;
};

}  // namespace m2
