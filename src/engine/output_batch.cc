#include "engine/output_batch.h"

#include <utility>

namespace m2 {

RequestOutput& OutputBatch::of(OpenRequest& request) {
  if (request.output_batch != number_) {
    request.output_batch = number_;
    request.output_place = static_cast<int32_t>(outputs_.size());
    RequestOutput& output = outputs_.emplace_back();
    output.id = request.request.id;
    if (!request.cached_told && request.cached_tokens >= 0) {
      output.cached_tokens = request.cached_tokens;
      request.cached_told = true;
    }
  }
  return outputs_[request.output_place];
}

ChoiceOutput& OutputBatch::of(Sequence& sequence) {
  std::vector<ChoiceOutput>& choices = of(*sequence.request).choices;
  if (sequence.output_batch != number_) {
    sequence.output_batch = number_;
    sequence.output_place = static_cast<int32_t>(choices.size());
    choices.emplace_back().index = sequence.index;
  }
  return choices[sequence.output_place];
}

std::vector<RequestOutput> OutputBatch::take() {
  // The next batch is about as large as this one.
  std::vector<RequestOutput> taken;
  taken.reserve(outputs_.size());
  std::swap(taken, outputs_);
  ++number_;
  return taken;
}

}  // namespace m2
