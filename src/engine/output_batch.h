// Gathers what one turn of the loop has to say, one RequestOutput a request. Sequences remember
// their place in the batch, so nothing is searched; batches reuse one another's memory.
//
// Thread-safety: one owner.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/output.h"
#include "engine/sequence.h"

namespace m2 {

class OutputBatch {
 public:
  // The output of this request in the current batch, made on first use; lasts until the next call.
  RequestOutput& of(Sequence& sequence);

  std::span<RequestOutput> outputs() { return outputs_; }
  bool empty() const { return outputs_.empty(); }
  // Begins the next batch.
  void clear();

 private:
  std::vector<RequestOutput> outputs_;
  uint64_t number_ = 1;
};

}  // namespace m2
