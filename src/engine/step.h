// A step as the engine keeps it: the plans that the executor reads, and which sequence each row
// belongs to. Two of them alternate, since one step is planned while the one before it runs.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/executor.h"
#include "engine/sequence.h"

namespace m2 {

// The host's side of a StepRow.
struct PlannedRow {
  Sequence* sequence;
  int32_t first_token;     // as in the StepRow
  int32_t num_tokens;      //
  int32_t context_tokens;  //
  int32_t first_target;    // prompt position whose logprobs come first
  int32_t num_targets;     // prompt positions whose logprobs are wanted
  bool draws;              // the last token's logits give the sequence's next token
  bool wasted;             // the sequence ended after this row was queued: nothing is sampled
  int32_t first_sample;    // index of its first SampleRow: the targets, then the draw
};

struct Step {
  explicit Step(const Capacity& capacity) : plan(capacity) {
    rows.reserve(capacity.max_sequences);
    sample.rows.reserve(capacity.max_sample_rows);
    sample.ids.reserve(capacity.max_model_tokens);
  }

  void clear() {
    plan.clear();
    sample.clear();
    rows.clear();
  }
  bool empty() const { return plan.empty(); }

  StepPlan plan;
  SamplePlan sample;
  std::vector<PlannedRow> rows;  // as plan.rows()
};

}  // namespace m2
