// What a step, or one op of it, has to read and compute at least.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/config.h"

namespace m2 {

// `rows` sequences of `tokens` new tokens each (1: decode), after `context` tokens in the KV cache;
// one token is sampled a row.
struct StepShape {
  int32_t rows = 1;
  int32_t tokens = 1;
  int32_t context = 0;
};

// Of all ranks together. Bytes: every weight that is needed once, with the experts that uniform
// routing hits, and the keys and values of the context. Floating-point operations: two a weight and
// token, the output matrix for sampled rows alone, and attention's.
struct StepCost {
  double bytes = 0;
  double flops = 0;
};

// The ops of model/ops.h that read weights or the KV cache.
enum class OpKind : uint8_t { kNormQkv, kAttention, kOProjAdd, kNormRoute, kExpertsAdd, kHead };
inline constexpr std::array kOpKinds = {OpKind::kNormQkv,   OpKind::kAttention,  OpKind::kOProjAdd,
                                        OpKind::kNormRoute, OpKind::kExpertsAdd, OpKind::kHead};
std::string_view op_name(OpKind op);  // as in model/ops.h

// Of one layer, or of the head.
StepCost cost_of(const ModelConfig& config, OpKind op, const StepShape& shape,
                 size_t kv_bytes_a_token);
// Of the whole step.
StepCost cost_of(const ModelConfig& config, const StepShape& shape, size_t kv_bytes_a_token);

}  // namespace m2
