// Requests as all APIs mean them: each API's codec fills these, the service runs them.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/request.h"
#include "json/json.h"

namespace m2 {

// How to generate; the same for every API and every choice.
struct GenerationOptions {
  SamplingParams sampling;
  StopParams stop;                              // stop.max_tokens is set by the service
  std::optional<int32_t> max_tokens;            // none: the default of the API and the model
  const char* max_tokens_field = "max_tokens";  // what errors call it: as the request did
  std::optional<uint64_t> seed;                 // none: a random one a request
  int32_t n = 1;
  std::vector<std::string> stop_strings, bad_words;
  bool include_stop_string = false, skip_special_tokens = true;
  int32_t prompt_logprobs = -1;
  int32_t truncate_prompt_tokens = 0;  // > 0: the last so many; -1: as many as fit
  int32_t priority = 0;
  std::string cache_salt;
};

struct ChatRequest {
  json::Value messages;  // normalised (normalize_messages), at least one
  json::Value tools;     // normalised: an array of functions, or null
  json::Object template_kwargs;
  bool add_generation_prompt = true, continue_final_message = false;
  bool suppress_tools = false;  // tool_choice "none"
  bool parallel_tool_calls = true;
  bool include_reasoning = true;  // false: what is thought is not shown
  bool split_reasoning = false;   // the request's own wish, whatever --reasoning-parser says
  GenerationOptions options;
};

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  std::vector<Prompt> prompts;
  GenerationOptions options;
};

}  // namespace m2
