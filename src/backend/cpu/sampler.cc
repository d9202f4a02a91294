#include "backend/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/penalty_counts.h"
#include "backend/cpu/philox.h"

namespace m2 {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Logits are held within ±kLargestLogit, so that an infinite one (a broken checkpoint) gives a
// token and not a NaN, whatever the temperature and penalties then do to it.
constexpr float kLargestLogit = 1e30f;

float clean(float logit) {
  return std::isnan(logit) ? kMinusInfinity : std::min(logit, kLargestLogit);
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

}  // namespace

int32_t Sampler::top_count(const SampleRequest& request) const {
  if (request.num_logprobs < 0) return 0;
  return std::min(request.num_logprobs, count_) + static_cast<int32_t>(request.logprob_ids.size());
}

void Sampler::sample(const SampleRequest& request, const float* logits,
                     std::span<const uint16_t> counts, Scratch& scratch, SampledToken& out,
                     int32_t* top_ids, float* top_logprobs) const {
  take_raw(logits, scratch);
  out.token = request.target;
  if (request.draw) {
    prepare(request, counts, scratch);
    out.token = choose(request, {scratch.logits.data(), size_t(count_)}, scratch);
    // Nothing may be said (or all is NaN): the engine asked for the impossible, but a reply must
    // end.
    if (out.token < 0) out.token = std::max(0, argmax({scratch.raw.data(), size_t(count_)}));
  }
  if (request.num_logprobs >= 0) logprobs(request, scratch, out, top_ids, top_logprobs);
}

void Sampler::take_raw(const float* logits, Scratch& scratch) const {
  for (int32_t i = 0; i < count_; ++i) scratch.raw[i] = clean(logits[i]);
}

float Sampler::raw_of(const float* logits, int32_t id) const {
  return has(id) ? clean(logits[id - first_]) : kMinusInfinity;
}

int32_t Sampler::count_above(const float* logits, float raw) const {
  int32_t count = 0;
  for (int32_t i = 0; i < count_; ++i) count += clean(logits[i]) > raw ? 1 : 0;
  return count;
}

// Makes -inf of what the request may not say, and adds its bias.
void Sampler::restrict(const SampleRequest& request, Scratch& scratch) const {
  std::span<float> logits(scratch.logits.data(), count_);
  const std::span<const float> raw(scratch.raw.data(), count_);
  if (request.allowed.empty()) {
    std::copy(raw.begin(), raw.end(), logits.begin());
  } else {
    std::fill(logits.begin(), logits.end(), kMinusInfinity);
    for (int32_t id : request.allowed) {
      if (has(id)) logits[id - first_] = raw[id - first_];
    }
  }
  if (request.mask != nullptr) {
    for (int32_t i = 0; i < count_; ++i) {
      const int32_t id = first_ + i;
      if ((request.mask[id / 32] >> (id % 32) & 1u) == 0) logits[i] = kMinusInfinity;
    }
  }
  for (int32_t id : request.banned) {
    if (has(id)) logits[id - first_] = kMinusInfinity;
  }
  for (size_t i = 0; i < request.bias_ids.size(); ++i) {
    const int32_t id = request.bias_ids[i];
    if (has(id)) logits[id - first_] += request.bias_values[i];
  }
}

void Sampler::prepare(const SampleRequest& request, std::span<const uint16_t> counts,
                      Scratch& scratch) const {
  restrict(request, scratch);
  std::span<float> logits(scratch.logits.data(), count_);
  penalise(request, counts, logits);
  if (request.temperature < kLeastTemperature) return;
  const float inverse = 1.0f / request.temperature;
  for (float& logit : logits) logit *= inverse;
}

int32_t Sampler::choose(const SampleRequest& r, std::span<float> logits, Scratch& scratch) const {
  const int32_t best = argmax(logits);
  if (best < 0 || r.temperature < kLeastTemperature) return best;
  const float largest = logits[best];
  if (r.min_p > 0) {
    const float least = largest + std::log(r.min_p);
    for (float& logit : logits) {
      if (logit < least) logit = kMinusInfinity;
    }
  }
  const auto vocab = std::ssize(logits);
  const double uniform = philox_uniform(r.seed, static_cast<uint64_t>(r.position));
  std::vector<Candidate>& candidates = scratch.candidates;
  if (r.top_k > 0 && r.top_k < vocab) {
    select_best(logits, r.top_k, 0, candidates);
    return draw_among(candidates, share(candidates), r.top_p, uniform);
  }
  const float* weights = scratch.probabilities.data();
  const double total =
      kernels_.exponentials(logits.data(), largest, vocab, scratch.probabilities.data());
  if (r.top_p < 1) {
    // Most of the probability is usually in a few tokens: try a few, then many, then all.
    for (int64_t count = 256;; count *= 16) {
      select_best(logits, std::min<int64_t>(count, vocab), 0, candidates);
      if (count >= vocab || share(candidates) >= r.top_p * total) break;
    }
    return draw_among(candidates, total, r.top_p, uniform);
  }
  double left = uniform * total;
  for (int32_t i = 0; i < vocab; ++i) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return best;
}

void Sampler::logprobs(const SampleRequest& request, Scratch& scratch, SampledToken& out,
                       int32_t* top_ids, float* top_logprobs) const {
  const std::span<const float> raw(scratch.raw.data(), count_);
  const int32_t best = argmax(raw);
  const float largest = best < 0 ? 0.0f : raw[best];
  const double sum =
      kernels_.exponentials(raw.data(), largest, count_, scratch.probabilities.data());
  const float normaliser = best < 0 ? 0.0f : largest + static_cast<float>(std::log(sum));
  const auto logprob_of = [&](int32_t id) {
    return has(id) ? raw[id - first_] - normaliser : kMinusInfinity;
  };
  out.logprob = logprob_of(out.token);
  out.rank = 1;
  const float own = out.logprob == kMinusInfinity ? kMinusInfinity : raw[out.token - first_];
  for (const float logit : raw) out.rank += logit > own ? 1 : 0;

  const int32_t count = std::min(request.num_logprobs, count_);
  std::vector<Candidate>& candidates = scratch.candidates;
  candidates.clear();
  if (count > 0) select_best(raw, count, first_, candidates);
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
