// The fields that OpenAI's chat and completion requests share, as vLLM extends them: each with its
// type and bounds. Unknown fields are no error.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "json/json.h"
#include "server/chat.h"
#include "server/json_fields.h"
#include "server/server.h"

namespace m2 {

// What values are checked against.
struct RequestRules {
  const ServerOptions& options;
  const SamplingDefaults& sampling;  // where a request says nothing
  int32_t vocab_size;
};

// How the reply is to be written.
struct ReplySettings {
  std::string model;       // as the request names it
  std::string request_id;  // the client's own, for the reply's id; may be empty
  bool stream = false, include_usage = false, continuous_usage = false;
  bool logprobs = false, return_token_ids = false, tokens_as_ids = false;
  int32_t stream_interval = 1;
};

// The body as an object, within the JSON limits.
Result<json::Value> parse_body(const std::string& body, const ServerLimits& limits);

// The model that the request names, or the first served one where it names none; kNotFound.
Result<std::string> read_model(JsonFields& fields, const ServerOptions& options);

// Sampling, stops, ids, n, priority, cache_salt, …: all but logprobs.
void read_generation(JsonFields& fields, const RequestRules& rules, GenerationOptions& out);

// A count of logprobs: 0 … max_logprobs, -1 for all where that is allowed. -1 in `out` when absent.
void read_logprobs(JsonFields& fields, const char* name, const RequestRules& rules, int32_t& out);

void read_reply_settings(JsonFields& fields, const ServerOptions& options, ReplySettings& out);

// Fields that are taken without effect, as docs/api.md says of each: their types alone count.
void read_without_effect(JsonFields& fields);

// kUnsupported for fields that are well known but not served yet, where they ask for something.
Status refuse_unsupported(const json::Object& request);

}  // namespace m2
