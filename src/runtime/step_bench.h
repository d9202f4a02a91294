// Times an Executor on steps of one shape, driven one step ahead as the engine drives it.
//
// Thread-safety: one caller; the executor serves nobody else meanwhile.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "engine/executor.h"
#include "runtime/step_cost.h"

namespace m2 {

// Seconds of `steps` steps each, after one that is not counted. The context of decode steps grows
// by one a step. Tokens are random ones of the vocabulary, sampled by top_k 40 and top_p 0.95.
// Refused: shapes that the executor's capacity does not hold. Fails with the executor's own error.
Result<std::vector<double>> time_steps(Executor& executor, const StepShape& shape, int32_t steps);

// Runs prompts of random tokens, so that the shape's context in the KV cache is a model's own for
// the time_steps() that comes next. With `begin` only what follows so many tokens, which an earlier
// call for as many rows has left.
Status fill_context(Executor& executor, const StepShape& shape, int32_t begin = 0);

}  // namespace m2
