#include "server/unknown_fields.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/log.h"
#include "server/json_fields.h"

namespace m2 {
namespace {

constexpr size_t kMostNames = 64, kMostBytes = 64;

constexpr std::string_view kKnown[] = {"add_generation_prompt",
                                       "add_special_tokens",
                                       "allowed_token_ids",
                                       "bad_words",
                                       "cache_salt",
                                       "chat_template",
                                       "chat_template_kwargs",
                                       "continue_final_message",
                                       "documents",
                                       "echo",
                                       "enable_thinking",
                                       "frequency_penalty",
                                       "guided_choice",
                                       "guided_grammar",
                                       "guided_json",
                                       "guided_regex",
                                       "ignore_eos",
                                       "include_reasoning",
                                       "include_stop_str_in_output",
                                       "kv_transfer_params",
                                       "length_penalty",
                                       "logit_bias",
                                       "logprob_token_ids",
                                       "logprobs",
                                       "max_completion_tokens",
                                       "max_tokens",
                                       "messages",
                                       "metadata",
                                       "min_p",
                                       "min_tokens",
                                       "model",
                                       "n",
                                       "parallel_tool_calls",
                                       "presence_penalty",
                                       "priority",
                                       "prompt",
                                       "prompt_embeds",
                                       "prompt_logprobs",
                                       "reasoning_effort",
                                       "reasoning_split",
                                       "repetition_detection",
                                       "repetition_penalty",
                                       "request_id",
                                       "response_format",
                                       "return_token_ids",
                                       "return_token_strs",
                                       "return_tokens_as_token_ids",
                                       "seed",
                                       "service_tier",
                                       "skip_special_tokens",
                                       "spaces_between_special_tokens",
                                       "stop",
                                       "stop_token_ids",
                                       "store",
                                       "stream",
                                       "stream_interval",
                                       "stream_options",
                                       "structured_outputs",
                                       "suffix",
                                       "temperature",
                                       "thinking",
                                       "thinking_token_budget",
                                       "tokens",
                                       "tool_choice",
                                       "tools",
                                       "top_k",
                                       "top_logprobs",
                                       "top_p",
                                       "truncate_prompt_tokens",
                                       "truncation_side",
                                       "use_beam_search",
                                       "user"};

}  // namespace

void UnknownFields::note(const json::Object& request) {
  for (const auto& [name, value] : request) {
    if (name.size() > kMostBytes) continue;
    if (std::binary_search(std::begin(kKnown), std::end(kKnown), std::string_view(name))) continue;
    {
      std::lock_guard lock(mutex_);
      if (noted_.size() >= kMostNames || !noted_.insert(name).second) continue;
    }
    log_warning("requests set {}, which is not known here and is passed over",
                shown(json::Value(name)));
  }
}

}  // namespace m2
