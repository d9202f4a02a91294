#include "engine/sequence.h"

#include <algorithm>
#include <utility>

namespace m2 {
namespace {

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

Sequence::Sequence(Request submitted, int32_t max_model_tokens)
    : request(std::move(submitted)),
      prompt_tokens(static_cast<int32_t>(request.prompt.size())),
      most_tokens(static_cast<int32_t>(
          std::min<int64_t>(int64_t{prompt_tokens} + request.stop.max_tokens, max_model_tokens))),
      ends_only(only_ends(request)) {
  const SamplingParams& sampling = request.sampling;
  has_penalties = sampling.repetition_penalty != 1.0f || sampling.presence_penalty != 0.0f ||
                  sampling.frequency_penalty != 0.0f;
  tokens.reserve(std::max(most_tokens, prompt_tokens));
  tokens = request.prompt;
  request.prompt = std::vector<TokenId>();  // gives the memory back
}

bool is_end_token(const StopParams& stop, TokenId token) {
  return contains(stop.stop_token_ids, token) ||
         (!stop.ignore_eos && contains(stop.eos_token_ids, token));
}

FinishReason finish_reason(const Sequence& sequence) {
  const StopParams& stop = sequence.request.stop;
  const TokenId token = sequence.tokens.back();
  if (is_end_token(stop, token)) return FinishReason::kStop;
  // Where the grammar has nothing left but the end, ignore_eos has nothing to go on with.
  if (sequence.request.constraint && contains(stop.eos_token_ids, token) &&
      sequence.request.constraint->finished()) {
    return FinishReason::kStop;
  }
  if (sequence.known() >= sequence.most_tokens) return FinishReason::kLength;
  return FinishReason::kNone;
}

}  // namespace m2
