// Times single ops on a device, with caches as cold as a step finds them, and the kernels of whole
// steps.
//
// Thread-safety: one caller.
#pragma once

#include <vector>

#include "base/error.h"
#include "runtime/rank.h"
#include "runtime/step_cost.h"

namespace m2 {

struct OpBenchOptions {
  int32_t repeats = 1;  // calls that are timed together; more where a clock's read shows
  int32_t rounds = 20;  // timings, of which the median is told
};

// Seconds that one call of `op` takes. Between two calls the output matrix, which is larger than
// caches, is read, and its time taken off again; layers come in turn. Tokens are random ones. The
// parts' ops must not record their steps. Fails with the ops' own error.
Result<double> time_op(RankParts& parts, const OpsLimits& limits, OpKind op, const StepShape& shape,
                       const OpBenchOptions& options);

// What a step's kernels take where they stand, the mean of `steps` steps; a decode step's are those
// of greedy sampling. Of a device that notes them (Ops::kernel_times); unsupported on others.
Result<std::vector<KernelTime>> time_kernels(RankParts& parts, const OpsLimits& limits,
                                             const StepShape& shape, int32_t steps);

}  // namespace m2
