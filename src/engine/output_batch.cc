#include "engine/output_batch.h"

namespace m2 {

RequestOutput& OutputBatch::of(Sequence& sequence) {
  if (sequence.output_batch != number_) {
    sequence.output_batch = number_;
    sequence.output_place = static_cast<int32_t>(outputs_.size());
    RequestOutput& output = outputs_.emplace_back();
    output.id = sequence.request.id;
    if (!sequence.cached_told && sequence.cached_tokens >= 0) {
      output.cached_tokens = sequence.cached_tokens;
      sequence.cached_told = true;
    }
  }
  return outputs_[sequence.output_place];
}

void OutputBatch::clear() {
  outputs_.clear();
  ++number_;
}

}  // namespace m2
