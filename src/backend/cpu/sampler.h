// From one row of logits to a token and its logprobs. Pure: the result depends on the row, the
// request, the slot's counts and nothing else; the draw is Philox(seed, position).
//
// A sampler may have a slice of the vocabulary only: then its parts are of use, and the ranks put
// together what they make of their slices (sharded_sampler.h).
//
// Thread-safety: rows may be sampled at once, each thread with its own Scratch. Nothing allocates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/candidates.h"
#include "backend/cpu/kernels.h"
#include "model/batch.h"

namespace m2 {

// Below this a temperature means greedy: dividing by it would overflow.
inline constexpr float kLeastTemperature = 1e-5f;

class Sampler {
 public:
  // Working memory of one thread.
  struct Scratch {
    explicit Scratch(int64_t vocab) : raw(vocab), logits(vocab), probabilities(vocab) {
      candidates.reserve(vocab);
    }
    static size_t bytes(int64_t vocab) { return vocab * (3 * sizeof(float) + sizeof(Candidate)); }

    std::vector<float> raw, logits, probabilities;  // [vocab]
    std::vector<Candidate> candidates;
  };

  // Of the `count` ids from `first` on; others are never drawn and have no logprob.
  Sampler(const Kernels& kernels, int32_t count, int32_t first = 0)
      : kernels_(kernels), first_(first), count_(count) {}

  int32_t first() const { return first_; }
  int32_t count() const { return count_; }

  // `logits` and `counts` (the slot's entry of PenaltyCounts, or empty) start at the first id.
  // `top_ids` and `top_logprobs` hold top_count(request) entries, filled best first and then with
  // request.logprob_ids.
  void sample(const SampleRequest& request, const float* logits, std::span<const uint16_t> counts,
              Scratch& scratch, SampledToken& out, int32_t* top_ids, float* top_logprobs) const;

  int32_t top_count(const SampleRequest& request) const;

  // The parts. scratch.raw = the logits, without what is no number.
  void take_raw(const float* logits, Scratch& scratch) const;
  // scratch.logits = scratch.raw restricted, penalised, and divided by the temperature if any.
  void prepare(const SampleRequest& request, std::span<const uint16_t> counts,
               Scratch& scratch) const;
  // Draws from prepared logits of all ids; -1 when all are -inf. Changes `logits`, which may be
  // scratch.logits; uses the scratch's other vectors but raw.
  int32_t choose(const SampleRequest& request, std::span<float> logits, Scratch& scratch) const;
  // From scratch.raw of all ids.
  void logprobs(const SampleRequest& request, Scratch& scratch, SampledToken& out, int32_t* top_ids,
                float* top_logprobs) const;
  // The raw logit of an id from its row of logits; -inf for an id that is not the sampler's.
  float raw_of(const float* logits, int32_t id) const;
  // How many raw logits of the row are larger.
  int32_t count_above(const float* logits, float raw) const;

 private:
  void restrict(const SampleRequest& request, Scratch& scratch) const;
  bool has(int32_t id) const { return id >= first_ && id - first_ < count_; }

  const Kernels& kernels_;
  const int32_t first_, count_;
};

}  // namespace m2
