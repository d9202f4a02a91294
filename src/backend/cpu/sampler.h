// From one row of logits to a token and its logprobs. Pure: the result depends on the row, the
// request, the slot's counts and nothing else; the draw is Philox(seed, position).
//
// Thread-safety: rows may be sampled at once, each thread with its own Scratch. Nothing allocates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/kernels.h"
#include "model/batch.h"

namespace m2 {

class Sampler {
 public:
  struct Candidate {
    float logit;
    int32_t id;
  };

  // Working memory of one thread.
  struct Scratch {
    explicit Scratch(int64_t vocab) : raw(vocab), logits(vocab), probabilities(vocab) {
      candidates.reserve(vocab);
    }
    static size_t bytes(int64_t vocab) { return vocab * (3 * sizeof(float) + sizeof(Candidate)); }

    std::vector<float> raw, logits, probabilities;  // [vocab]
    std::vector<Candidate> candidates;
  };

  // Ids from real_vocab up are never drawn and have no logprob.
  Sampler(const Kernels& kernels, int32_t real_vocab)
      : kernels_(kernels), real_vocab_(real_vocab) {}

  // `counts` is the slot's entry of PenaltyCounts, or empty. `top_ids` and `top_logprobs` hold
  // top_count(request) entries, filled best first and then with request.logprob_ids.
  void sample(const SampleRequest& request, const float* logits, std::span<const uint16_t> counts,
              Scratch& scratch, SampledToken& out, int32_t* top_ids, float* top_logprobs) const;

  int32_t top_count(const SampleRequest& request) const;

 private:
  int32_t draw(const SampleRequest& request, std::span<const uint16_t> counts,
               Scratch& scratch) const;
  void restrict(const SampleRequest& request, Scratch& scratch) const;
  void logprobs(const SampleRequest& request, Scratch& scratch, SampledToken& out, int32_t* top_ids,
                float* top_logprobs) const;

  const Kernels& kernels_;
  const int32_t real_vocab_;
};

}  // namespace m2
