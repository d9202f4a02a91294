// Times an Executor on steps of one shape, driven one step ahead as the engine drives it, and tells
// what such a step has to read and compute at least.
//
// Thread-safety: one caller; the executor serves nobody else meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "engine/executor.h"
#include "model/config.h"

namespace m2 {

// `rows` sequences of `tokens` new tokens each (1: decode), after `context` tokens in the KV cache;
// one token is sampled a row.
struct StepShape {
  int32_t rows = 1;
  int32_t tokens = 1;
  int32_t context = 0;
};

// Of all ranks together. Bytes: every weight that the step needs once, with the experts that
// uniform routing hits, and the keys and values of the context. Floating-point operations: two a
// weight and token, the output matrix for sampled rows alone, and attention's.
struct StepCost {
  double bytes = 0;
  double flops = 0;
};
StepCost cost_of(const ModelConfig& config, const StepShape& shape, size_t kv_bytes_a_token);

// Seconds of `steps` steps each, after one that is not counted. The context of decode steps grows
// by one a step. Tokens are random ones of the vocabulary, sampled by top_k 40 and top_p 0.95.
// Refused: shapes that the executor's capacity does not hold. Fails with the executor's own error.
Result<std::vector<double>> time_steps(Executor& executor, const StepShape& shape, int32_t steps);

}  // namespace m2
