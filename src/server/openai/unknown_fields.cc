#include "server/openai/unknown_fields.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/log.h"
#include "server/json_fields.h"

namespace m2 {
namespace {

constexpr size_t kMostNames = 64, kMostBytes = 64;

struct KnownField {
  std::string_view name;
  unsigned kinds;
};

constexpr unsigned kBoth = kChat | kCompletions, kAll = kBoth | kTokenize | kDetokenize;

// By name.
constexpr KnownField kKnown[] = {
    {"add_generation_prompt", kChat | kTokenize},
    {"add_special_tokens", kChat | kCompletions | kTokenize},
    {"allowed_token_ids", kBoth},
    {"bad_words", kBoth},
    {"cache_salt", kBoth},
    {"chat_template", kChat | kCompletions | kTokenize},
    {"chat_template_kwargs", kChat | kTokenize},
    {"continue_final_message", kChat | kTokenize},
    {"documents", kBoth},
    {"echo", kBoth},
    {"enable_thinking", kChat | kTokenize},
    {"frequency_penalty", kBoth},
    {"guided_choice", kBoth},
    {"guided_grammar", kBoth},
    {"guided_json", kBoth},
    {"guided_regex", kBoth},
    {"ignore_eos", kBoth},
    {"include_reasoning", kChat | kTokenize},
    {"include_stop_str_in_output", kBoth},
    {"kv_transfer_params", kBoth},
    {"length_penalty", kBoth},
    {"logit_bias", kBoth},
    {"logprob_token_ids", kBoth},
    {"logprobs", kBoth},
    {"max_completion_tokens", kChat},
    {"max_tokens", kBoth},
    {"messages", kChat | kTokenize},
    {"metadata", kBoth},
    {"min_p", kBoth},
    {"min_tokens", kBoth},
    {"model", kAll},
    {"n", kBoth},
    {"parallel_tool_calls", kChat | kTokenize},
    {"presence_penalty", kBoth},
    {"priority", kBoth},
    {"prompt", kCompletions | kTokenize},
    {"prompt_embeds", kBoth},
    {"prompt_logprobs", kBoth},
    {"reasoning_effort", kChat | kTokenize},
    {"reasoning_split", kChat | kTokenize},
    {"repetition_detection", kBoth},
    {"repetition_penalty", kBoth},
    {"request_id", kBoth},
    {"response_format", kBoth},
    {"return_token_ids", kBoth},
    {"return_token_strs", kTokenize},
    {"return_tokens_as_token_ids", kBoth},
    {"seed", kBoth},
    {"service_tier", kBoth},
    {"skip_special_tokens", kBoth},
    {"spaces_between_special_tokens", kBoth},
    {"stop", kBoth},
    {"stop_token_ids", kBoth},
    {"store", kBoth},
    {"stream", kBoth},
    {"stream_interval", kBoth},
    {"stream_options", kBoth},
    {"structured_outputs", kBoth},
    {"suffix", kCompletions},
    {"temperature", kBoth},
    {"thinking", kChat | kTokenize},
    {"thinking_token_budget", kBoth},
    {"tokens", kDetokenize},
    {"tool_choice", kChat | kTokenize},
    {"tools", kChat | kTokenize},
    {"top_k", kBoth},
    {"top_logprobs", kChat},
    {"top_p", kBoth},
    {"truncate_prompt_tokens", kBoth},
    {"truncation_side", kBoth},
    {"use_beam_search", kBoth},
    {"user", kBoth},
};

const char* route_of(RequestKind kind) {
  switch (kind) {
    case kChat:
      return "/v1/chat/completions";
    case kCompletions:
      return "/v1/completions";
    case kTokenize:
      return "/tokenize";
    case kDetokenize:
      break;
  }
  return "/detokenize";
}

}  // namespace

bool is_known_field(RequestKind kind, std::string_view name) {
  const auto* known = std::lower_bound(
      std::begin(kKnown), std::end(kKnown), name,
      [](const KnownField& field, std::string_view wanted) { return field.name < wanted; });
  return known != std::end(kKnown) && known->name == name && (known->kinds & kind) != 0;
}

void UnknownFields::note(RequestKind kind, const json::Object& request) {
  for (const auto& [name, value] : request) {
    if (name.size() > kMostBytes || value.is_null() || is_known_field(kind, name)) continue;
    const char* route = route_of(kind);
    {
      std::lock_guard lock(mutex_);
      if (noted_.size() >= kMostNames || !noted_.insert(route + (" " + name)).second) continue;
    }
    log_warning("requests to {} set {}, which it does not know and passes over", route,
                shown(json::Value(name)));
  }
}

}  // namespace m2
