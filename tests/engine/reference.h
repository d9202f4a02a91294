// What a right engine over the FakeExecutor must answer, computed for one request alone, and a sink
// that gathers what it did answer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/output.h"
#include "tests/fake_executor.h"

namespace m2 {

// As a Request without its constraint, which cannot be copied.
inline Request copy_of(const Request& request) {
  Request copy;
  copy.id = request.id;
  copy.prompt = request.prompt;
  copy.sampling = request.sampling;
  copy.stop = request.stop;
  copy.priority = request.priority;
  copy.client = request.client;
  copy.cache_salt = request.cache_salt;
  copy.prompt_logprobs = request.prompt_logprobs;
  return copy;
}

struct Reply {
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;
  std::vector<TokenLogprobs> logprobs;
};

// Allows ids of one residue of 3 after another; after `most` tokens only `end`.
class TestConstraint : public Constraint {
 public:
  TestConstraint(int32_t most, TokenId end, int32_t vocab_size)
      : most_(most), end_(end), vocab_size_(vocab_size) {}

  bool allows(TokenId token) const {
    return finished() ? token == end_ : token % 3 == accepted_ % 3 && token != end_;
  }
  bool fill_mask(std::span<uint32_t> mask) override {
    for (TokenId token = 0; token < vocab_size_; ++token) {
      if (!allows(token)) mask[token / 32] &= ~(1u << (token % 32));
    }
    return true;
  }
  bool accept(int32_t token) override {
    const bool allowed = allows(token);
    ++accepted_;
    return allowed;
  }
  bool finished() const override { return accepted_ >= most_; }

 private:
  const int32_t most_;
  const TokenId end_;
  const int32_t vocab_size_;
  int32_t accepted_ = 0;
};

using MakeConstraint = std::function<std::unique_ptr<TestConstraint>()>;

inline bool reference_allows(const Request& request, std::span<const TokenId> output, TokenId token,
                             const TestConstraint* constraint) {
  const auto has = [](const std::vector<TokenId>& ids, TokenId id) {
    return std::ranges::find(ids, id) != ids.end();
  };
  const StopParams& stop = request.stop;
  const bool is_end = has(stop.eos_token_ids, token) || has(stop.stop_token_ids, token);
  const bool may_end = static_cast<int32_t>(output.size()) >= stop.min_tokens ||
                       (constraint && constraint->finished());
  if (is_end && !may_end) return false;
  if (!request.sampling.allowed_token_ids.empty() &&
      !has(request.sampling.allowed_token_ids, token)) {
    return false;
  }
  for (const std::vector<TokenId>& word : request.sampling.bad_words) {
    std::vector<TokenId> said(output.begin(), output.end());
    said.push_back(token);
    if (said.size() >= word.size() && std::equal(word.rbegin(), word.rend(), said.rbegin())) {
      return false;
    }
  }
  return constraint == nullptr || constraint->allows(token);
}

inline Reply reference_reply(const Request& request, const Capacity& capacity,
                             const MakeConstraint& make_constraint = {}) {
  const SamplingParams& sampling = request.sampling;
  const std::unique_ptr<TestConstraint> constraint = make_constraint ? make_constraint() : nullptr;
  std::vector<TokenId> context = request.prompt;
  Reply reply;
  while (reply.finish == FinishReason::kNone) {
    FakeDraw what;
    what.context = context;
    what.vocab_size = capacity.vocab_size;
    what.temperature = sampling.temperature;
    what.seed = sampling.seed;
    what.penalised = sampling.repetition_penalty != 1.0f || sampling.presence_penalty != 0.0f ||
                     sampling.frequency_penalty != 0.0f;
    what.history = context;
    what.history_prompt = static_cast<int32_t>(request.prompt.size());
    for (const auto& [id, value] : sampling.logit_bias) {
      if (value >= FakeExecutor::kForcingBias) what.forced = id;
    }
    const TokenId token = fake_draw(what, [&](TokenId id) {
      return reference_allows(request, reply.tokens, id, constraint.get());
    });
    if (sampling.num_logprobs >= 0) {
      TokenLogprobs logprobs{token, fake_logprob(context, token), 1, {}};
      for (int32_t i = 0; i < sampling.num_logprobs; ++i) {
        const TokenId id = (token + i) % capacity.vocab_size;
        logprobs.top.emplace_back(id, fake_logprob(context, id));
      }
      reply.logprobs.push_back(logprobs);
    }
    if (constraint) constraint->accept(token);
    context.push_back(token);
    reply.tokens.push_back(token);
    const auto ends = [&](const std::vector<TokenId>& ids) {
      return std::ranges::find(ids, token) != ids.end();
    };
    if (ends(request.stop.stop_token_ids) ||
        (ends(request.stop.eos_token_ids) && !request.stop.ignore_eos)) {
      reply.finish = FinishReason::kStop;
      reply.stop_token = token;
    } else if (static_cast<int32_t>(reply.tokens.size()) >= request.stop.max_tokens ||
               static_cast<int32_t>(context.size()) >= capacity.max_model_tokens) {
      reply.finish = FinishReason::kLength;
    }
  }
  return reply;
}

// What the engine said of one request.
struct Heard {
  Reply reply;
  std::vector<TokenLogprobs> prompt_logprobs;
  int32_t cached_tokens = -1;
  bool finished = false;
  std::optional<Error> error;
};

// Gathers outputs. Calls made on the engine thread; heard() from any other is safe.
class HearingSink : public OutputSink {
 public:
  std::function<void(const RequestOutput&)> on_output;

  void publish(std::span<RequestOutput> batch) override {
    for (RequestOutput& output : batch) {
      add(output);
      if (on_output) on_output(output);
    }
  }

  Heard heard(RequestId id) const {
    std::lock_guard lock(mutex_);
    const auto found = heard_.find(id);
    return found == heard_.end() ? Heard{} : found->second;
  }
  void forget(RequestId id) {
    std::lock_guard lock(mutex_);
    heard_.erase(id);
  }
  size_t finished() const {
    std::lock_guard lock(mutex_);
    return finished_;
  }

 private:
  void add(const RequestOutput& output) {
    std::lock_guard lock(mutex_);
    Heard& heard = heard_[output.id];
    EXPECT_FALSE(heard.finished) << "request " << output.id << " spoke after its end";
    Reply& reply = heard.reply;
    reply.tokens.insert(reply.tokens.end(), output.tokens.begin(), output.tokens.end());
    reply.logprobs.insert(reply.logprobs.end(), output.logprobs.begin(), output.logprobs.end());
    reply.finish = output.finish;
    reply.stop_token = output.stop_token;
    heard.prompt_logprobs.insert(heard.prompt_logprobs.end(), output.prompt_logprobs.begin(),
                                 output.prompt_logprobs.end());
    if (output.cached_tokens >= 0) {
      EXPECT_EQ(heard.cached_tokens, -1) << "cached_tokens told twice";
      heard.cached_tokens = output.cached_tokens;
    }
    heard.finished = output.finished();
    heard.error = output.error;
    finished_ += output.finished();
  }

  mutable std::mutex mutex_;
  std::map<RequestId, Heard> heard_;
  size_t finished_ = 0;
};

inline void expect_same_logprobs(const std::vector<TokenLogprobs>& got,
                                 const std::vector<TokenLogprobs>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].token, wanted[i].token);
    EXPECT_EQ(got[i].logprob, wanted[i].logprob);
    EXPECT_EQ(got[i].top, wanted[i].top);
  }
}

// The whole answer is what the reference says.
inline void expect_right(const Heard& heard, const Request& request, const Capacity& capacity,
                         const MakeConstraint& make_constraint = {}) {
  EXPECT_TRUE(heard.finished) << "request " << request.id << " has not ended";
  EXPECT_FALSE(heard.error) << heard.error->message;
  const Reply& reply = heard.reply;
  const Reply wanted = reference_reply(request, capacity, make_constraint);
  EXPECT_EQ(reply.tokens, wanted.tokens) << "request " << request.id;
  EXPECT_EQ(reply.finish, wanted.finish);
  EXPECT_EQ(reply.stop_token, wanted.stop_token);
  expect_same_logprobs(reply.logprobs, wanted.logprobs);
  if (request.prompt_logprobs < 0) {
    EXPECT_TRUE(heard.prompt_logprobs.empty());
    return;
  }
  std::vector<TokenLogprobs> prompt_logprobs;
  for (size_t position = 1; position < request.prompt.size(); ++position) {
    const auto context = std::span(request.prompt).first(position);
    const TokenId token = request.prompt[position];
    TokenLogprobs logprobs{token, fake_logprob(context, token), 1, {}};
    for (int32_t i = 0; i < request.prompt_logprobs; ++i) {
      const TokenId id = (token + i) % capacity.vocab_size;
      logprobs.top.emplace_back(id, fake_logprob(context, id));
    }
    prompt_logprobs.push_back(logprobs);
  }
  expect_same_logprobs(heard.prompt_logprobs, prompt_logprobs);
}

}  // namespace m2
