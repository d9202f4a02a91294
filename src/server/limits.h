// Bounds on everything that a client can size. Each is checked at the server's edge, before memory
// is spent on what it bounds; the answer names the field, the value and the limit.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace m2 {

struct ServerLimits {
  // HTTP
  size_t header_bytes = 32u << 10;
  size_t body_bytes = 64u << 20;
  size_t open_body_bytes = 1u << 30;  // bodies of all requests being read, together
  int32_t max_connections = 4096;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};  // without a byte of progress
  std::chrono::milliseconds whole_body_timeout{300'000};
  std::chrono::milliseconds keep_alive_timeout{65'000};
  std::chrono::milliseconds write_timeout{30'000};  // a reader that takes nothing is dropped
  size_t stream_backlog_bytes = 4u << 20;           // … or one that is this far behind

  // JSON
  size_t json_depth = 64;
  size_t json_elements = 1u << 20;

  // Requests
  int32_t max_messages = 16384;
  int32_t max_tools = 1024;
  int32_t max_choices = 64;          // n
  int32_t max_prompts = 1024;        // prompts of one completion request
  int32_t max_total_choices = 1024;  // prompts × n of one request
  int32_t max_stop_strings = 16;     // vLLM takes 4
  size_t max_stop_bytes = 1024;      // of one stop string
  int32_t max_stop_token_ids = 128;
  int32_t max_bad_words = 128;
  size_t max_bad_word_bytes = 1024;
  int32_t max_logit_bias = 1024;
  // Sent to the device with every step of the row.
  int32_t max_allowed_token_ids = 4096;
  int32_t max_logprob_token_ids = 128;
  // Of one request's prompts, and of its reply where that is one document: about 80 bytes of text
  // each. A whole context of replies with 20 each fits.
  int64_t max_logprob_entries = 8 << 20;
  size_t max_cache_salt_bytes = 256;
  size_t max_name_bytes = 512;  // model, user, ids
  size_t max_template_kwargs = 32;
  // Prompt tokens of one HTTP request, all prompts and choices together, in contexts of the model.
  int32_t max_request_contexts = 64;
};

}  // namespace m2
