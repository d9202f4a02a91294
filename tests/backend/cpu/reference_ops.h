// The forward pass once more, in double, by the formulas, with none of the product's code: no
// kernels, no worker pool, no grouping of tokens. What the CPU ops are compared with. Faults can be
// switched on, to show that the oracle notices each of them.
#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/ops.h"

namespace m2::test {

struct Faults {
  bool rotate_all_dimensions = false;
  bool norm_each_head = false;
  bool bias_in_weight = false;
  bool no_renormalisation = false;
  bool scale_twice = false;
  bool norm_after_rotation = false;
};

class ReferenceOps final : public Ops {
 public:
  ReferenceOps(const ModelConfig& config, const OpsLimits& limits, const Faults& faults = {})
      : config_(config), limits_(limits), faults_(faults) {}

  Status adopt(Weights&) override { return {}; }
  void begin_step(const Batch& batch) override;
  void embed(const Matrix& embed, Communicator&) override;
  void norm_qkv(const float* norm, const Matrix& qkv) override;
  void attention(int32_t layer, const float* q_norm, const float* k_norm, Communicator&) override;
  void o_proj_add(const Matrix& o_proj, Communicator&) override;
  void norm_route(const float* norm, const float* gate) override;
  void experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                   Communicator&) override;
  void head(std::span<const SampleRequest> requests, const float* norm,
            const Matrix& lm_head) override;
  void sample(std::span<const SampleRequest>, Communicator&) override {}
  Status collect(SampleOutput&) override { return {}; }
  Status read_logits(std::span<float> logits) override;

  // How close a token of the last step was, in any layer, to taking another expert: the least gap
  // between the last that was chosen and the next.
  double router_margin(size_t token) const { return margin_[token]; }

 private:
  using Vector = std::vector<double>;
  struct KeyValue {
    Vector key, value;
  };

  const Vector& widened(const Matrix& w) const;
  Vector multiply(const Matrix& w, const Vector& x) const;
  Vector norm(const Vector& x, const float* weight) const;
  void norm_heads(Vector& x, const float* weight) const;
  void rotate(Vector& x, int32_t position) const;
  Vector attend(int32_t layer, const BatchRow& row, int32_t position, const Vector& q) const;

  const ModelConfig config_;
  const OpsLimits limits_;
  const Faults faults_;
  Batch batch_;
  std::vector<Vector> hidden_, qkv_, attended_, normed_, router_, logits_;
  Vector margin_;
  mutable std::map<const void*, Vector> widened_;  // by the matrix's memory
  // By layer, block and position within the block.
  std::map<std::pair<int32_t, int64_t>, KeyValue> cache_;
};

}  // namespace m2::test
