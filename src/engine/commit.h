// Takes a finished step in: appends the tokens that were drawn, ends sequences, and writes what is
// to be published.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "engine/executor.h"
#include "engine/output_batch.h"
#include "engine/scheduler.h"
#include "engine/step.h"

namespace m2 {

struct CommitContext {
  const Capacity& capacity;
  Scheduler& scheduler;
  Step& next;  // the step queued behind this one: rows of sequences that end here are wasted there
  OutputBatch& outputs;
  std::vector<Sequence*>& ended;  // those that end here are appended
  int64_t& generated_tokens;      // counted up
};

// An error means that the result does not answer the plan: a fault of the executor.
Status commit_step(Step& step, const StepResult& result, CommitContext& context);

}  // namespace m2
