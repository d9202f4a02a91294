#include "engine/sequence.h"

#include <algorithm>
#include <utility>

namespace m2 {
namespace {

// Output tokens that a sequence reserves room for. Longer ones grow by doubling: reserving what a
// client may ask for at most would tie up memory that few use.
constexpr int32_t kReservedOutputTokens = 1024;

bool contains(const std::vector<TokenId>& ids, TokenId id) {
  return std::ranges::find(ids, id) != ids.end();
}

bool only_ends(const Request& request) {
  const std::vector<TokenId>& allowed = request.sampling.allowed_token_ids;
  return !allowed.empty() && std::ranges::all_of(allowed, [&](TokenId id) {
    return contains(request.stop.eos_token_ids, id) || contains(request.stop.stop_token_ids, id);
  });
}

}  // namespace

OpenRequest::OpenRequest(Request submitted, int32_t max_model_tokens)
    : request(std::move(submitted)), choices(request.n), open_choices(request.n) {
  const SamplingParams& sampling = request.sampling;
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  const auto most_tokens = static_cast<int32_t>(
      std::min<int64_t>(int64_t{prompt_tokens} + request.stop.max_tokens, max_model_tokens));
  for (int32_t i = 0; i < request.n; ++i) {
    Sequence& sequence = choices[i];
    sequence.request = this;
    sequence.index = i;
    sequence.prompt_tokens = prompt_tokens;
    sequence.most_tokens = most_tokens;
    sequence.has_penalties = sampling.repetition_penalty != 1.0f ||
                             sampling.presence_penalty != 0.0f ||
                             sampling.frequency_penalty != 0.0f;
    sequence.ends_only = only_ends(request);
    if (!request.constraints.empty()) sequence.constraint = std::move(request.constraints[i]);
    sequence.tokens.reserve(
        std::min<int64_t>(int64_t{prompt_tokens} + kReservedOutputTokens, most_tokens));
    sequence.tokens = request.prompt;
  }
  request.prompt = std::vector<TokenId>();  // gives the memory back
  request.constraints.clear();
}

bool is_end_token(const StopParams& stop, TokenId token) {
  return contains(stop.stop_token_ids, token) ||
         (!stop.ignore_eos && contains(stop.eos_token_ids, token));
}

FinishReason finish_reason(const Sequence& sequence) {
  const StopParams& stop = sequence.request->request.stop;
  const TokenId token = sequence.tokens.back();
  if (is_end_token(stop, token)) return FinishReason::kStop;
  // Where the grammar has nothing left but the end, ignore_eos has nothing to go on with.
  if (sequence.constraint && contains(stop.eos_token_ids, token) &&
      sequence.constraint->finished()) {
    return FinishReason::kStop;
  }
  if (sequence.known() >= sequence.most_tokens) return FinishReason::kLength;
  return FinishReason::kNone;
}

}  // namespace m2
