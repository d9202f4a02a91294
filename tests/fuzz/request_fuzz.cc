// Any bytes as a chat or completion request: refused with a short message, or within all bounds.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "server/openai/chat.h"
#include "server/openai/completions.h"

namespace {

void check_bounds(const m2::GenerationOptions& options, const m2::RequestRules& rules) {
  const m2::SamplingParams& sampling = options.sampling;
  M2_CHECK(std::isfinite(sampling.temperature) && sampling.temperature >= 0);
  M2_CHECK(sampling.top_p > 0 && sampling.top_p <= 1);
  M2_CHECK(sampling.top_k >= 0 && sampling.repetition_penalty > 0);
  M2_CHECK(options.n >= 1 && options.n <= rules.options.limits.max_choices);
  M2_CHECK(sampling.num_logprobs <= rules.options.max_logprobs);
  for (const auto& [token, bias] : sampling.logit_bias) {
    M2_CHECK(token >= 0 && token < rules.vocab_size && std::fabs(bias) <= 100);
  }
  for (const auto& ids : {sampling.allowed_token_ids, options.stop.stop_token_ids}) {
    for (const m2::TokenId id : ids) M2_CHECK(id >= 0 && id < rules.vocab_size);
  }
}

void check_error(const m2::Error& error) {
  constexpr size_t kMost = 2048;
  M2_CHECK(!error.message.empty() && error.message.size() <= kMost, "a message of {} bytes",
           error.message.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const m2::ServerOptions options = [] {
    m2::ServerOptions made;
    made.served_names = {"m"};
    return made;
  }();
  static const m2::SamplingDefaults sampling;
  const m2::RequestRules rules{options, sampling, 1000};
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto body = m2::parse_body(text, options.limits);
  if (!body) {
    check_error(body.error());
    return 0;
  }
  const auto chat = m2::parse_openai_chat(*body, rules);
  if (chat) {
    check_bounds(chat->request.options, rules);
  } else {
    check_error(chat.error());
  }
  const auto completion = m2::parse_openai_completion(*body, rules);
  if (completion) {
    check_bounds(completion->request.options, rules);
  } else {
    check_error(completion.error());
  }
  return 0;
}
