// Sampling where each rank has a slice of the vocabulary. Every rank restricts and penalises its
// slice and sends the others a summary: its best tokens and the sum of its exponentials. All merge
// the same summaries in rank order, and so draw the same tokens.
//
// Exact from summaries: greedy rows, top_k up to kMostCandidates, and rows whose top_p or min_p
// leaves no more than that many; logprobs of as many best tokens. For other rows the slices
// themselves are gathered, kGatherRows at a time.
//
// Thread-safety: one rank thread. Nothing allocates after construction. After a fault of the
// communicator the results are undefined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/penalty_counts.h"
#include "backend/cpu/sampler.h"
#include "backend/cpu/worker_pool.h"
#include "model/batch.h"
#include "model/weights.h"
#include "parallel/communicator.h"

namespace m2 {

class ShardedSampler {
 public:
  static constexpr int32_t kMostCandidates = 256;
  static constexpr int32_t kGatherRows = 16;

  // Ids from real_vocab up are never drawn.
  ShardedSampler(const Kernels& kernels, const Shard& shard, int32_t real_vocab, int32_t max_rows);
  static size_t bytes(const Shard& shard, int32_t max_rows);

  // What all threads of a step work with.
  struct Step {
    std::span<const SampleRequest> requests;
    const float* logits;                  // [requests, shard.vocab_count]
    PenaltyCounts& counts;                // of the shard's slice
    std::span<Sampler::Scratch> scratch;  // one a thread of the pool, as wide as the vocabulary
    WorkerPool& pool;
    Communicator& communicator;
    SampleOutput& out;  // its rows are there, with the places of their logprobs
  };
  void sample(Step& step);

 private:
  using Rows = std::span<const int32_t>;
  using Scratch = Sampler::Scratch;
  struct DrawHead;
  struct LogprobHead;

  const float* logits_of(const Step& step, int32_t row) const {
    return step.logits + row * slice_width_;
  }
  // Sets rows_ to as many of `rows` as one message holds, and returns their number.
  template <typename Size>
  size_t begin_message(Rows rows, const Size& size);
  bool exchange(Communicator& communicator);
  const std::byte* received(int32_t rank, size_t i) const;

  bool draw(Step& step);
  int32_t candidates_for(const SampleRequest& request) const;
  void prepare(Step& step, int32_t row, Scratch& scratch) const;
  void summarise_draw(Step& step, size_t i, Scratch& scratch);
  void merge_draw(Step& step, size_t i, Scratch& scratch);
  bool draw_gathered(Step& step);

  bool find_logprobs(Step& step);
  int32_t top_of(const SampleRequest& request) const;
  void summarise_logprobs(Step& step, size_t i, Scratch& scratch);
  void merge_logprobs(Step& step, size_t i, Scratch& scratch);
  bool count_ranks(Step& step);
  bool find_gathered_logprobs(Step& step);

  // fill(row, out, scratch) writes this rank's slice of a row, finish(row, scratch) finds the whole
  // row in scratch.*whole.
  template <typename Fill, typename Finish>
  bool gather(Step& step, Rows rows, std::vector<float> Scratch::*whole, const Fill& fill,
              const Finish& finish);

  const Kernels& kernels_;
  const int32_t ranks_;
  const Sampler slice_, whole_;
  const int64_t slice_width_;  // of the logits
  const int64_t share_;        // of a row that each rank sends when slices are gathered

  std::vector<int32_t> pending_, gathered_;  // rows to do by summaries, and those to gather
  std::vector<int32_t> best_raw_;            // [max rows] the best token by raw logits, of draws
  // The message under way: its rows, where each begins, and each token's raw logit.
  std::vector<int32_t> rows_;
  std::vector<size_t> offsets_;
  std::vector<float> own_;
  size_t message_bytes_ = 0;
  std::vector<std::byte> message_, received_;
  std::vector<float> sent_slices_, slices_;  // [kGatherRows, share], [ranks, rows, share]
};

}  // namespace m2
