#include "backend/cpu/sharded_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/philox.h"

namespace m2 {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Rows share a message up to this size.
constexpr size_t kMessageBytes = 16384;

Sampler slice_sampler(const Kernels& kernels, const Shard& shard, int32_t real_vocab) {
  const int64_t count = std::clamp<int64_t>(real_vocab - shard.vocab_begin, 0, shard.vocab_count);
  return {kernels, static_cast<int32_t>(count), static_cast<int32_t>(shard.vocab_begin)};
}

bool greedy(const SampleRequest& request) { return request.temperature < kLeastTemperature; }

}  // namespace

// One rank's summary of one row; its candidates follow.
struct ShardedSampler::DrawHead {
  double sum = 0;  // of exp(logit - largest), where top_p asks for it
  float largest = kMinusInfinity;
  float raw_best = kMinusInfinity;
  int32_t raw_best_id = 0;
  int32_t candidates = 0;
  int32_t alive = 0;  // tokens that may be drawn

  const Candidate* begin() const { return reinterpret_cast<const Candidate*>(this + 1); }
  const Candidate* end() const { return begin() + candidates; }
};

// The best raw logits follow, then those of the ids that were asked for.
struct ShardedSampler::LogprobHead {
  double sum = 0;  // of exp(raw - largest)
  float largest = kMinusInfinity;
  float own = kMinusInfinity;  // the token's
  int32_t candidates = 0;

  const Candidate* begin() const { return reinterpret_cast<const Candidate*>(this + 1); }
  const Candidate* end() const { return begin() + candidates; }
};

ShardedSampler::ShardedSampler(const Kernels& kernels, const Shard& shard, int32_t real_vocab,
                               int32_t max_rows)
    : kernels_(kernels),
      ranks_(shard.size),
      slice_(slice_sampler(kernels, shard, real_vocab)),
      whole_(kernels, real_vocab),
      slice_width_(shard.vocab_count),
      share_(shard.vocab_share),
      best_raw_(max_rows),
      own_(max_rows),
      message_(kMessageBytes),
      received_(kMessageBytes * shard.size),
      sent_slices_(kGatherRows * share_),
      slices_(kGatherRows * share_ * shard.size) {
  for (auto* rows : {&pending_, &gathered_, &rows_}) rows->reserve(max_rows);
  offsets_.reserve(max_rows);
}

size_t ShardedSampler::bytes(const Shard& shard, int32_t max_rows) {
  const size_t slices = kGatherRows * shard.vocab_share * sizeof(float);
  const size_t a_row = 4 * sizeof(int32_t) + sizeof(size_t) + sizeof(float);
  return (kMessageBytes + slices) * (shard.size + 1) + a_row * max_rows;
}

void ShardedSampler::sample(Step& step) {
  if (draw(step) && draw_gathered(step) && find_logprobs(step)) find_gathered_logprobs(step);
}

template <typename Size>
size_t ShardedSampler::begin_message(Rows rows, const Size& size) {
  rows_.clear();
  offsets_.clear();
  message_bytes_ = 0;
  for (const int32_t row : rows) {
    const size_t bytes = size(row);
    if (message_bytes_ + bytes > kMessageBytes) break;
    rows_.push_back(row);
    offsets_.push_back(message_bytes_);
    message_bytes_ += bytes;
  }
  return rows_.size();
}

// False after a fault: what was received must not be read.
bool ShardedSampler::exchange(Communicator& communicator) {
  communicator.all_gather(message_.data(), message_bytes_, received_.data());
  return communicator.status().has_value();
}

const std::byte* ShardedSampler::received(int32_t rank, size_t i) const {
  return received_.data() + rank * message_bytes_ + offsets_[i];
}

// How many of its best tokens each rank sends; 0 when they would not decide the row.
int32_t ShardedSampler::candidates_for(const SampleRequest& request) const {
  if (greedy(request)) return 1;
  if (request.top_k > 0 && request.top_k < whole_.count()) {
    return request.top_k <= kMostCandidates ? request.top_k : 0;
  }
  const bool few =
      request.top_p < 1 || request.min_p > 0 || !request.allowed.empty() || request.mask != nullptr;
  return few ? kMostCandidates : 0;
}

bool ShardedSampler::draw(Step& step) {
  pending_.clear();
  gathered_.clear();
  for (int32_t row = 0; row < std::ssize(step.requests); ++row) {
    step.out.rows[row].token = step.requests[row].target;
    if (step.requests[row].draw) pending_.push_back(row);
  }
  const auto size = [&](int32_t row) {
    return sizeof(DrawHead) + candidates_for(step.requests[row]) * sizeof(Candidate);
  };
  for (size_t done = 0; done < pending_.size();) {
    done += begin_message(Rows(pending_).subspan(done), size);
    step.pool.for_each(std::ssize(rows_), [&](int64_t i, int32_t thread) {
      summarise_draw(step, i, step.scratch[thread]);
    });
    if (!exchange(step.communicator)) return false;
    step.pool.for_each(std::ssize(rows_), [&](int64_t i, int32_t thread) {
      merge_draw(step, i, step.scratch[thread]);
    });
    for (const int32_t row : rows_) {
      if (step.out.rows[row].token < 0) gathered_.push_back(row);
    }
  }
  return true;
}

void ShardedSampler::prepare(Step& step, int32_t row, Scratch& scratch) const {
  const SampleRequest& request = step.requests[row];
  const auto counts =
      wants_counts(request) ? step.counts.of(request.slot) : std::span<const uint16_t>();
  slice_.prepare(request, counts, scratch);
}

void ShardedSampler::summarise_draw(Step& step, size_t i, Scratch& scratch) {
  const int32_t row = rows_[i];
  const SampleRequest& request = step.requests[row];
  slice_.take_raw(logits_of(step, row), scratch);
  DrawHead head;
  if (const int32_t best = argmax({scratch.raw.data(), size_t(slice_.count())}); best >= 0) {
    head.raw_best = scratch.raw[best];
    head.raw_best_id = slice_.first() + best;
  }
  const int32_t wanted = candidates_for(request);
  scratch.candidates.clear();
  if (wanted > 0) {
    prepare(step, row, scratch);
    const std::span<const float> logits(scratch.logits.data(), slice_.count());
    select_best(logits, wanted, slice_.first(), scratch.candidates);
    head.alive = static_cast<int32_t>(
        std::count_if(logits.begin(), logits.end(), [](float l) { return l > kMinusInfinity; }));
  }
  head.candidates = static_cast<int32_t>(scratch.candidates.size());
  if (head.candidates > 0) head.largest = scratch.candidates.front().logit;
  if (head.candidates == kMostCandidates && request.top_p < 1) {
    head.sum = kernels_.exponentials(scratch.logits.data(), head.largest, slice_.count(),
                                     scratch.probabilities.data());
  } else if (head.candidates > 0) {
    head.sum = share(scratch.candidates);
  }
  std::byte* out = message_.data() + offsets_[i];
  std::memcpy(out, &head, sizeof(head));
  if (head.candidates == 0) return;
  std::memcpy(out + sizeof(head), scratch.candidates.data(), head.candidates * sizeof(Candidate));
}

void ShardedSampler::merge_draw(Step& step, size_t i, Scratch& scratch) {
  const int32_t row = rows_[i];
  const SampleRequest& request = step.requests[row];
  std::vector<Candidate>& all = scratch.candidates;
  all.clear();
  int64_t alive = 0;
  float largest = kMinusInfinity, raw_best = kMinusInfinity;
  best_raw_[row] = 0;
  const auto head_of = [&](int32_t rank) -> const DrawHead& {
    return *reinterpret_cast<const DrawHead*>(received(rank, i));
  };
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    const DrawHead& head = head_of(rank);
    if (head.raw_best > raw_best) {
      raw_best = head.raw_best;
      best_raw_[row] = head.raw_best_id;
    }
    largest = std::max(largest, head.largest);
    alive += head.alive;
    all.insert(all.end(), head.begin(), head.end());
  }
  double total = 0;
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    const DrawHead& head = head_of(rank);
    if (head.candidates > 0) total += head.sum * std::exp(double{head.largest} - largest);
  }
  std::sort(all.begin(), all.end(), better);
  int32_t& token = step.out.rows[row].token;
  if (candidates_for(request) == 0) {
    token = -1;
  } else if (all.empty()) {
    token = best_raw_[row];  // nothing may be said, but a reply must end
  } else if (greedy(request)) {
    token = all.front().id;
  } else {
    const double uniform = philox_uniform(request.seed, static_cast<uint64_t>(request.position));
    if (request.top_k > 0 && request.top_k < whole_.count()) {
      if (all.size() > size_t(request.top_k)) all.resize(request.top_k);
      cut_min_p(request.min_p, all);
      token = draw_among(all, share(all), request.top_p, uniform);
    } else {
      const BestOfAll best{.certain = kMostCandidates, .alive = alive, .total = total};
      token = draw_from_best(all, best, request.top_p, request.min_p, uniform);
    }
  }
}

template <typename Fill, typename Finish>
bool ShardedSampler::gather(Step& step, Rows rows, std::vector<float> Scratch::*whole,
                            const Fill& fill, const Finish& finish) {
  for (size_t begin = 0; begin < rows.size(); begin += kGatherRows) {
    const Rows some = rows.subspan(begin, std::min<size_t>(kGatherRows, rows.size() - begin));
    step.pool.for_each(std::ssize(some), [&](int64_t i, int32_t thread) {
      fill(some[i], sent_slices_.data() + i * share_, step.scratch[thread]);
    });
    step.communicator.all_gather(sent_slices_.data(), some.size() * share_ * sizeof(float),
                                 slices_.data());
    if (!step.communicator.status()) return false;
    step.pool.for_each(std::ssize(some), [&](int64_t i, int32_t thread) {
      Scratch& scratch = step.scratch[thread];
      for (int64_t rank = 0; rank * share_ < whole_.count(); ++rank) {
        const float* slice = slices_.data() + (rank * std::ssize(some) + i) * share_;
        std::copy_n(slice, std::min(share_, whole_.count() - rank * share_),
                    (scratch.*whole).data() + rank * share_);
      }
      finish(some[i], scratch);
    });
  }
  return true;
}

bool ShardedSampler::draw_gathered(Step& step) {
  const auto fill = [&](int32_t row, float* out, Scratch& scratch) {
    slice_.take_raw(logits_of(step, row), scratch);
    prepare(step, row, scratch);
    std::copy_n(scratch.logits.data(), slice_.count(), out);
  };
  const auto finish = [&](int32_t row, Scratch& scratch) {
    const int32_t token =
        whole_.choose(step.requests[row], {scratch.logits.data(), size_t(whole_.count())}, scratch);
    step.out.rows[row].token = token < 0 ? best_raw_[row] : token;
  };
  return gather(step, gathered_, &Scratch::logits, fill, finish);
}

int32_t ShardedSampler::top_of(const SampleRequest& request) const {
  return std::min(request.num_logprobs, whole_.count());
}

bool ShardedSampler::find_logprobs(Step& step) {
  pending_.clear();
  gathered_.clear();
  for (int32_t row = 0; row < std::ssize(step.requests); ++row) {
    const SampleRequest& request = step.requests[row];
    if (request.num_logprobs < 0) continue;
    const bool fits =
        top_of(request) <= kMostCandidates && request.logprob_ids.size() <= size_t{kMostCandidates};
    (fits ? pending_ : gathered_).push_back(row);
  }
  const auto size = [&](int32_t row) {
    const SampleRequest& request = step.requests[row];
    return sizeof(LogprobHead) + top_of(request) * sizeof(Candidate) +
           (request.logprob_ids.size() + 1) / 2 * 2 * sizeof(float);
  };
  for (size_t done = 0; done < pending_.size();) {
    done += begin_message(Rows(pending_).subspan(done), size);
    step.pool.for_each(std::ssize(rows_), [&](int64_t i, int32_t thread) {
      summarise_logprobs(step, i, step.scratch[thread]);
    });
    if (!exchange(step.communicator)) return false;
    step.pool.for_each(std::ssize(rows_), [&](int64_t i, int32_t thread) {
      merge_logprobs(step, i, step.scratch[thread]);
    });
    if (!count_ranks(step)) return false;
  }
  return true;
}

void ShardedSampler::summarise_logprobs(Step& step, size_t i, Scratch& scratch) {
  const int32_t row = rows_[i];
  const SampleRequest& request = step.requests[row];
  const float* logits = logits_of(step, row);
  slice_.take_raw(logits, scratch);
  const std::span<const float> raw(scratch.raw.data(), slice_.count());
  LogprobHead head;
  head.own = slice_.raw_of(logits, step.out.rows[row].token);
  if (const int32_t best = argmax(raw); best >= 0) {
    head.largest = raw[best];
    head.sum = kernels_.exponentials(raw.data(), head.largest, slice_.count(),
                                     scratch.probabilities.data());
  }
  scratch.candidates.clear();
  if (top_of(request) > 0) {
    select_best(raw, top_of(request), slice_.first(), scratch.candidates);
  }
  head.candidates = static_cast<int32_t>(scratch.candidates.size());
  std::byte* out = message_.data() + offsets_[i];
  std::memcpy(out, &head, sizeof(head));
  std::copy(scratch.candidates.begin(), scratch.candidates.end(),
            reinterpret_cast<Candidate*>(out + sizeof(head)));
  auto* asked = reinterpret_cast<float*>(out + sizeof(head) + top_of(request) * sizeof(Candidate));
  for (const int32_t id : request.logprob_ids) *asked++ = slice_.raw_of(logits, id);
}

void ShardedSampler::merge_logprobs(Step& step, size_t i, Scratch& scratch) {
  const SampleRequest& request = step.requests[rows_[i]];
  SampledToken& out = step.out.rows[rows_[i]];
  std::vector<Candidate>& all = scratch.candidates;
  all.clear();
  const auto head_of = [&](int32_t rank) -> const LogprobHead& {
    return *reinterpret_cast<const LogprobHead*>(received(rank, i));
  };
  float largest = kMinusInfinity, own = kMinusInfinity;
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    const LogprobHead& head = head_of(rank);
    largest = std::max(largest, head.largest);
    own = std::max(own, head.own);
    all.insert(all.end(), head.begin(), head.end());
  }
  double sum = 0;
  for (int32_t rank = 0; rank < ranks_; ++rank) {
    const LogprobHead& head = head_of(rank);
    if (head.sum > 0) sum += head.sum * std::exp(double{head.largest} - largest);
  }
  const float normaliser = sum > 0 ? largest + static_cast<float>(std::log(sum)) : 0.0f;
  std::sort(all.begin(), all.end(), better);
  own_[i] = own;
  out.logprob = own - normaliser;
  int32_t* ids = step.out.top_ids.data() + out.top_begin;
  float* logprobs = step.out.top_logprobs.data() + out.top_begin;
  for (int32_t k = 0; k < top_of(request); ++k) {
    const bool there = k < std::ssize(all);
    *ids++ = there ? all[k].id : 0;
    *logprobs++ = there ? all[k].logit - normaliser : kMinusInfinity;
  }
  const size_t asked = sizeof(LogprobHead) + top_of(request) * sizeof(Candidate);
  for (size_t k = 0; k < request.logprob_ids.size(); ++k) {
    float raw = kMinusInfinity;
    for (int32_t rank = 0; rank < ranks_; ++rank) {
      raw = std::max(raw, reinterpret_cast<const float*>(received(rank, i) + asked)[k]);
    }
    *ids++ = request.logprob_ids[k];
    *logprobs++ = raw - normaliser;
  }
}

// A token's rank is one more than the number of raw logits above its own, on all ranks.
bool ShardedSampler::count_ranks(Step& step) {
  message_bytes_ = rows_.size() * sizeof(int32_t);
  auto* counts = reinterpret_cast<int32_t*>(message_.data());
  step.pool.for_each(std::ssize(rows_), [&](int64_t i, int32_t) {
    counts[i] = slice_.count_above(logits_of(step, rows_[i]), own_[i]);
  });
  if (!exchange(step.communicator)) return false;
  for (size_t i = 0; i < rows_.size(); ++i) {
    int32_t& rank = step.out.rows[rows_[i]].rank;
    rank = 1;
    for (int32_t r = 0; r < ranks_; ++r) {
      rank += reinterpret_cast<const int32_t*>(received_.data() + r * message_bytes_)[i];
    }
  }
  return true;
}

bool ShardedSampler::find_gathered_logprobs(Step& step) {
  const auto fill = [&](int32_t row, float* out, Scratch& scratch) {
    slice_.take_raw(logits_of(step, row), scratch);
    std::copy_n(scratch.raw.data(), slice_.count(), out);
  };
  const auto finish = [&](int32_t row, Scratch& scratch) {
    SampledToken& out = step.out.rows[row];
    whole_.logprobs(step.requests[row], scratch, out, step.out.top_ids.data() + out.top_begin,
                    step.out.top_logprobs.data() + out.top_begin);
  };
  return gather(step, gathered_, &Scratch::raw, fill, finish);
}

}  // namespace m2
