#include "backend/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/penalty_counts.h"
#include "backend/cpu/philox.h"

namespace m2 {
namespace {

using Candidate = Sampler::Candidate;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Below this a temperature means greedy: dividing by it would overflow.
constexpr float kLeastTemperature = 1e-5f;
// Logits are held within ±kLargestLogit, so that an infinite one (a broken checkpoint) gives a
// token and not a NaN, whatever the temperature and penalties then do to it.
constexpr float kLargestLogit = 1e30f;

bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// The `count` best of `logits` (fewer when the rest is -inf), best first, into `out`, whose
// capacity is at least logits.size(). One pass: what is below the worst of the best so far is
// skipped.
void select_best(std::span<const float> logits, size_t count, std::vector<Candidate>& out) {
  const size_t limit = std::min(std::max<size_t>(4 * count, 256), logits.size());
  float threshold = kMinusInfinity;
  out.clear();
  const auto keep_best = [&] {
    if (out.size() <= count) return;
    std::nth_element(out.begin(), out.begin() + (count - 1), out.end(), better);
    threshold = out[count - 1].logit;
    out.resize(count);
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    // A later equal one loses the tie against all that stand above the threshold already.
    if (!(logits[i] > threshold)) continue;
    if (out.size() == limit) {
      keep_best();
      if (!(logits[i] > threshold)) continue;
    }
    out.push_back({logits[i], static_cast<int32_t>(i)});
  }
  keep_best();
  std::sort(out.begin(), out.end(), better);
}

int32_t argmax(std::span<const float> logits) {
  int32_t best = -1;
  float largest = kMinusInfinity;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > largest) {
      largest = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

void penalise(const SampleRequest& r, std::span<const uint16_t> counts, std::span<float> logits) {
  if (counts.empty()) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (counts[i] == 0) continue;
    float& logit = logits[i];
    logit = logit > 0 ? logit / r.repetition_penalty : logit * r.repetition_penalty;
    const int said = counts[i] & PenaltyCounts::kMaxCount;
    if (said > 0) {
      logit -= r.frequency_penalty * static_cast<float>(said) + r.presence_penalty;
    }
  }
}

// Draws among `candidates` (best first), of which top_p keeps the fewest whose share of `total`
// reaches it.
int32_t draw_among(std::span<const Candidate> candidates, double total, float top_p,
                   double uniform) {
  const float largest = candidates.front().logit;
  double kept = 0;
  size_t count = 0;
  while (count < candidates.size() && (count == 0 || kept < top_p * total)) {
    kept += std::exp(candidates[count++].logit - largest);
  }
  double left = uniform * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= std::exp(candidates[i].logit - largest);
    if (left < 0) return candidates[i].id;
  }
  return candidates[count - 1].id;  // rounding left a little over
}

double share(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += std::exp(c.logit - candidates.front().logit);
  return sum;
}

}  // namespace

int32_t Sampler::top_count(const SampleRequest& request) const {
  if (request.num_logprobs < 0) return 0;
  return std::min(request.num_logprobs, real_vocab_) +
         static_cast<int32_t>(request.logprob_ids.size());
}

void Sampler::sample(const SampleRequest& request, const float* logits,
                     std::span<const uint16_t> counts, Scratch& scratch, SampledToken& out,
                     int32_t* top_ids, float* top_logprobs) const {
  for (int32_t i = 0; i < real_vocab_; ++i) {
    scratch.raw[i] = std::isnan(logits[i]) ? kMinusInfinity : std::min(logits[i], kLargestLogit);
  }
  out.token = request.draw ? draw(request, counts, scratch) : request.target;
  if (request.num_logprobs >= 0) logprobs(request, scratch, out, top_ids, top_logprobs);
}

// Makes -inf of what the request may not say, and adds its bias.
void Sampler::restrict(const SampleRequest& request, Scratch& scratch) const {
  std::span<float> logits(scratch.logits.data(), real_vocab_);
  const std::span<const float> raw(scratch.raw.data(), real_vocab_);
  const auto known = [&](int32_t id) { return id >= 0 && id < real_vocab_; };
  if (request.allowed.empty()) {
    std::copy(raw.begin(), raw.end(), logits.begin());
  } else {
    std::fill(logits.begin(), logits.end(), kMinusInfinity);
    for (int32_t id : request.allowed) {
      if (known(id)) logits[id] = raw[id];
    }
  }
  if (request.mask != nullptr) {
    for (int32_t i = 0; i < real_vocab_; ++i) {
      if ((request.mask[i / 32] >> (i % 32) & 1u) == 0) logits[i] = kMinusInfinity;
    }
  }
  for (int32_t id : request.banned) {
    if (known(id)) logits[id] = kMinusInfinity;
  }
  for (size_t i = 0; i < request.bias_ids.size(); ++i) {
    if (known(request.bias_ids[i])) logits[request.bias_ids[i]] += request.bias_values[i];
  }
}

int32_t Sampler::draw(const SampleRequest& r, std::span<const uint16_t> counts,
                      Scratch& scratch) const {
  restrict(r, scratch);
  std::span<float> logits(scratch.logits.data(), real_vocab_);
  penalise(r, counts, logits);
  const int32_t best = argmax(logits);
  // Nothing may be said (or all is NaN): the engine asked for the impossible, but a reply must end.
  if (best < 0) return std::max(0, argmax({scratch.raw.data(), size_t(real_vocab_)}));
  if (r.temperature < kLeastTemperature) return best;

  const float inverse = 1.0f / r.temperature;
  for (float& logit : logits) logit *= inverse;
  const float largest = logits[best];
  if (r.min_p > 0) {
    const float least = largest + std::log(r.min_p);
    for (float& logit : logits) {
      if (logit < least) logit = kMinusInfinity;
    }
  }
  const double uniform = philox_uniform(r.seed, static_cast<uint64_t>(r.position));
  std::vector<Candidate>& candidates = scratch.candidates;
  if (r.top_k > 0 && r.top_k < real_vocab_) {
    select_best(logits, r.top_k, candidates);
    return draw_among(candidates, share(candidates), r.top_p, uniform);
  }
  std::span<float> weights(scratch.probabilities.data(), real_vocab_);
  const double total = kernels_.exponentials(logits.data(), largest, real_vocab_, weights.data());
  if (r.top_p < 1) {
    // Most of the probability is usually in a few tokens: try a few, then many, then all.
    for (int64_t count = 256;; count *= 16) {
      select_best(logits, std::min<int64_t>(count, real_vocab_), candidates);
      if (count >= real_vocab_ || share(candidates) >= r.top_p * total) break;
    }
    return draw_among(candidates, total, r.top_p, uniform);
  }
  double left = uniform * total;
  for (int32_t i = 0; i < real_vocab_; ++i) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return best;
}

void Sampler::logprobs(const SampleRequest& request, Scratch& scratch, SampledToken& out,
                       int32_t* top_ids, float* top_logprobs) const {
  const std::span<const float> raw(scratch.raw.data(), real_vocab_);
  const int32_t best = argmax(raw);
  const float largest = best < 0 ? 0.0f : raw[best];
  const double sum =
      kernels_.exponentials(raw.data(), largest, real_vocab_, scratch.probabilities.data());
  const float normaliser = best < 0 ? 0.0f : largest + static_cast<float>(std::log(sum));
  const auto logprob_of = [&](int32_t id) {
    return id >= 0 && id < real_vocab_ ? raw[id] - normaliser : kMinusInfinity;
  };
  out.logprob = logprob_of(out.token);
  out.rank = 1;
  const float own = out.logprob == kMinusInfinity ? kMinusInfinity : raw[out.token];
  for (const float logit : raw) out.rank += logit > own ? 1 : 0;

  const int32_t count = std::min(request.num_logprobs, real_vocab_);
  std::vector<Candidate>& candidates = scratch.candidates;
  candidates.clear();
  if (count > 0) select_best(raw, count, candidates);
  for (int32_t i = 0; i < count; ++i) {
    const bool there = i < static_cast<int32_t>(candidates.size());
    *top_ids++ = there ? candidates[i].id : 0;
    *top_logprobs++ = there ? candidates[i].logit - normaliser : kMinusInfinity;
  }
  for (int32_t id : request.logprob_ids) {
    *top_ids++ = id;
    *top_logprobs++ = logprob_of(id);
  }
}

}  // namespace m2
