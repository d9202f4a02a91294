// Ops that do nothing, for tests of what drives them.
#pragma once

#include "model/ops.h"

namespace m2::test {

class IdleOps : public Ops {
 public:
  Status adopt(Weights&) override { return {}; }
  void begin_step(const Batch&) override {}
  void embed(const Matrix&, Communicator&) override {}
  void norm_qkv(const float*, const Matrix&) override {}
  void attention(int32_t, const float*, const float*, Communicator&) override {}
  void o_proj_add(const Matrix&, Communicator&) override {}
  void norm_route(const float*, const float*) override {}
  void experts_add(const float*, const Matrix&, const Matrix&, Communicator&) override {}
  void head(std::span<const SampleRequest>, const float*, const Matrix&) override {}
  void sample(std::span<const SampleRequest>, Communicator&) override {}
  Status collect(SampleOutput&) override { return {}; }
  Status read_logits(std::span<float>) override { return {}; }
};

}  // namespace m2::test
