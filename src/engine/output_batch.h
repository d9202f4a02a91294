// Gathers what one turn of the loop has to say, one RequestOutput a request, one ChoiceOutput a
// choice. Requests and sequences remember their place in the batch, so nothing is searched.
//
// Thread-safety: one owner.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/output.h"
#include "engine/sequence.h"

namespace m2 {

class OutputBatch {
 public:
  // The output of this request or choice in the current batch, made on first use. References last
  // until the next call.
  RequestOutput& of(OpenRequest& request);
  ChoiceOutput& of(Sequence& sequence);

  bool empty() const { return outputs_.empty(); }
  // Hands the batch over and begins the next one.
  std::vector<RequestOutput> take();

 private:
  std::vector<RequestOutput> outputs_;
  uint64_t number_ = 1;
};

}  // namespace m2
