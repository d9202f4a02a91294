// What the engine says of its requests, one batch a step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "engine/request.h"

namespace m2 {

enum class FinishReason { kNone, kStop, kLength, kAbort, kError };

struct TokenLogprobs {
  TokenId token = 0;
  float logprob = 0.0f;
  int32_t rank = 0;                            // 1 is the most likely
  std::vector<std::pair<TokenId, float>> top;  // best first; then the asked-for ids
};

// The tokens that one step gives one request: few, so they need no memory of their own.
class NewTokens {
 public:
  static constexpr size_t kMost = 8;

  void push_back(TokenId token) {
    M2_CHECK(size_ < kMost);
    tokens_[size_++] = token;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  TokenId operator[](size_t index) const { return tokens_[index]; }
  const TokenId* begin() const { return tokens_.data(); }
  const TokenId* end() const { return tokens_.data() + size_; }

 private:
  std::array<TokenId, kMost> tokens_{};
  size_t size_ = 0;
};

struct RequestOutput {
  RequestId id = 0;
  NewTokens tokens;  // new ones since the last batch; the end token is among them
  std::vector<TokenLogprobs> logprobs;         // one a token when asked for
  std::vector<TokenLogprobs> prompt_logprobs;  // positions 1 … of the prompt, in pieces, in order
  int32_t cached_tokens = -1;  // prompt tokens found in the prefix cache; set once, when known
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;  // the id that ended it, for kStop
  std::optional<Error> error;         // why it failed, for kAbort and kError

  bool finished() const { return finish != FinishReason::kNone; }  // nothing more will come
};

// Receives every output, on the engine thread, in order; must not block or throw. Each submitted
// request ends with exactly one output that is finished(), unless it was cancelled: then nothing
// more comes.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // At most one output a request. The sink may move out of them; their storage stays the engine's.
  virtual void publish(std::span<RequestOutput> batch) = 0;
};

}  // namespace m2
