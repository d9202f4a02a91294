// What the engine says of its requests, one batch a step.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

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

struct ChoiceOutput {
  int32_t index = 0;            // 0 … n-1
  std::vector<TokenId> tokens;  // new ones since the last batch; the end token is among them
  std::vector<TokenLogprobs> logprobs;  // one a token when asked for
  FinishReason finish = FinishReason::kNone;
  std::optional<TokenId> stop_token;  // the id that ended it, for kStop
};

struct RequestOutput {
  RequestId id = 0;
  std::vector<ChoiceOutput> choices;
  int32_t cached_tokens = -1;  // prompt tokens found in the prefix cache; set once, when known
  std::vector<TokenLogprobs> prompt_logprobs;  // positions 1 … of the prompt, in pieces, in order
  bool finished = false;                       // nothing more will come for this id
  std::optional<Error> error;  // with finished: the request failed (a fault, or the engine stopped)
};

// Receives every output, on the engine thread, in order; must not block or throw. Each submitted
// request ends with exactly one output that has `finished` set, unless it was cancelled: then
// nothing more comes.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void publish(std::vector<RequestOutput> batch) = 0;
};

}  // namespace m2
