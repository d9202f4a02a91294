// Brings a step's sample requests to the device and their results back. Requests are packed into
// one block of fixed size; what does not fit is sent in parts, of which the earlier are waited for
// (only requests with very long lists need that).
//
// Thread-safety: the rank's thread. Nothing allocates after construction but the results' vectors,
// which grow to what requests ask for and keep their memory.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <span>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/portable/sample.cuh"
#include "backend/cuda/upload.h"
#include "model/ops.h"

namespace m2 {

class SampleQueue {
 public:
  // Device arrays that live elsewhere: logits, work, counts, last_token and the sizes.
  static Result<std::unique_ptr<SampleQueue>> make(const OpsLimits& limits, int32_t vocab,
                                                   const cuda::SampleArgs& device);
  static size_t bytes(const OpsLimits& limits, int32_t vocab);

  Status push(std::span<const SampleRequest> requests, uint16_t* counts, const cuda::Queue& queue);
  // Whether pop() would not wait.
  bool ready() const { return count_ == 0 || pending_[first_].done.done(); }
  // Behind the last push and all that was queued before it; until the push after the next.
  Event& last_done() { return pending_[(first_ + count_ + kDepth - 1) % kDepth].done; }
  // Waits for the oldest push.
  Status pop(SampleOutput& output);

 private:
  static constexpr int kDepth = 2;  // pushes under way

  struct Sizes {
    size_t rows = 0, history = 0, ints = 0, tops = 0;  // elements
  };
  // One push: results of its earlier parts, and where the last part's will be.
  struct Pending {
    SampleOutput output;
    size_t part_rows = 0, part_tops = 0;
    size_t begin_row = 0, begin_top = 0;  // of the last part, in `output`
    PinnedMemory results;                 // of rows, which the kernel writes; then ids and logprobs
    Event done;
  };
  // The arrays of one part in the block that is uploaded.
  struct Part {
    cuda::SampleRow* rows;
    cuda::HistoryItem* history;
    int32_t* ints;
    float* floats;
    Sizes used;
  };

  SampleQueue(const OpsLimits& limits, int32_t vocab, const cuda::SampleArgs& device);
  static Sizes sizes_for(const OpsLimits& limits, int32_t vocab);
  size_t upload_bytes() const;
  Part part_at(std::byte* base) const;
  Sizes needs(const SampleRequest& request) const;
  bool fits(const Part& part, const Sizes& more) const;
  int32_t top_count(const SampleRequest& request) const;
  void add(const SampleRequest& request, Part& part) const;
  void add_mask(const SampleRequest& request, Part& part, cuda::SampleRow& row) const;
  Status send(Part& part, Pending& pending, uint16_t* counts, const cuda::Queue& queue);
  Status finish_part(Pending& pending);

  const OpsLimits limits_;
  const int32_t vocab_;
  const Sizes sizes_;
  cuda::SampleArgs device_;
  Upload upload_;
  DeviceMemory tops_;        // ids and logprobs
  size_t result_bytes_ = 0;  // of Pending::results, before the tops
  std::array<Pending, kDepth> pending_;
  int first_ = 0, count_ = 0;
};

}  // namespace m2
