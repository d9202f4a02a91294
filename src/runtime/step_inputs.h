// Turns the engine's plans into the model's batches: views, no copies of arrays.
//
// Thread-safety: one rank thread. A batch or the requests are valid until the next call of the same
// function, and as long as the plan.
#pragma once

#include <span>
#include <vector>

#include "engine/executor.h"
#include "model/batch.h"

namespace m2 {

class StepInputs {
 public:
  explicit StepInputs(const Capacity& capacity);

  Batch batch(const StepPlan& plan);
  std::span<const SampleRequest> requests(const SamplePlan& plan);

 private:
  std::vector<BatchRow> rows_;
  std::vector<SampleRequest> requests_;
};

// The other way: what a step sampled, as the engine wants it. Swaps memory with `output`.
void take_output(uint64_t step, SampleOutput& output, StepResult& result);

}  // namespace m2
