#include "runtime/step_cost.h"

namespace m2 {
namespace {

// The share of the experts that some token chooses.
double chosen_share(const ModelConfig& config, double tokens) {
  double missed = 1;
  for (double i = 0; i < tokens && missed > 1e-9; ++i) {
    missed *= 1 - double(config.experts_per_token) / config.num_experts;
  }
  return 1 - missed;
}

}  // namespace

std::string_view op_name(OpKind op) {
  switch (op) {
    case OpKind::kNormQkv:
      return "norm_qkv";
    case OpKind::kAttention:
      return "attention";
    case OpKind::kOProjAdd:
      return "o_proj_add";
    case OpKind::kNormRoute:
      return "norm_route";
    case OpKind::kExpertsAdd:
      return "experts_add";
    case OpKind::kHead:
      return "head";
  }
  return "";
}

StepCost cost_of(const ModelConfig& config, OpKind op, const StepShape& shape,
                 size_t kv_bytes_a_token) {
  const double tokens = double(shape.rows) * shape.tokens, hidden = config.hidden_size;
  const double linear_bytes = config.fp8() ? 1 : 2;
  const auto product = [&](double weights, double bytes, double rows) -> StepCost {
    return {weights * bytes, 2 * rows * weights};
  };
  switch (op) {
    case OpKind::kNormQkv:
      return product(hidden * (config.q_width() + 2 * config.kv_width()), linear_bytes, tokens);
    case OpKind::kAttention: {
      // A new token sees half of the new ones before it.
      const double seen = tokens * (shape.context + 0.5 * (shape.tokens + 1));
      const double kv = double(kv_bytes_a_token) / config.num_layers;
      return {kv * shape.rows * (shape.context + shape.tokens), 4.0 * config.q_width() * seen};
    }
    case OpKind::kOProjAdd:
      return product(hidden * config.q_width(), linear_bytes, tokens);
    case OpKind::kNormRoute:
      return product(hidden * config.num_experts, 4, tokens);
    case OpKind::kExpertsAdd: {
      const double expert = 3.0 * hidden * config.expert_width;
      return {linear_bytes * chosen_share(config, tokens) * config.num_experts * expert,
              2 * tokens * config.experts_per_token * expert};
    }
    case OpKind::kHead:
      return product(hidden * config.vocab_size, 2, shape.rows);
  }
  return {};
}

StepCost cost_of(const ModelConfig& config, const StepShape& shape, size_t kv_bytes_a_token) {
  StepCost sum;
  // A model without layers keeps no keys and values.
  for (const OpKind op : kOpKinds) {
    const double times = op == OpKind::kHead ? 1 : config.num_layers;
    if (times == 0) continue;
    const StepCost one = cost_of(config, op, shape, kv_bytes_a_token);
    sum.bytes += times * one.bytes;
    sum.flops += times * one.flops;
  }
  return sum;
}

}  // namespace m2
