// What `m2 serve` was asked for, checked and in our own types. Built from flags alone: no file of
// the model has been read yet.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/environment.h"
#include "cli/parse_flags.h"
#include "json/json.h"
#include "text/reply_parser.h"

namespace m2::cli {

struct ServeOptions {
  // Model
  std::string model;  // a folder, or a repository id
  std::vector<std::string> served_names;
  std::string tokenizer;  // folder or file; empty: the model's
  std::string revision = "main", download_dir, hf_token;
  bool dummy_weights = false;
  std::optional<uint64_t> seed;
  json::Object hf_overrides;
  std::optional<int64_t> max_model_tokens;  // none: the model's
  bool fit_length = false;                  // or what memory holds
  std::string generation_config = "auto";
  json::Object generation_overrides;

  // Device and engine
  std::string device = "auto";
  bool plain_kernels = false;  // no flag: `m2 check` holds the others against them
  int32_t threads = 0;         // 0: one a core
  int32_t tensor_parallel = 1, data_parallel = 1;
  bool expert_parallel = false;
  double gpu_memory_utilization = 0;  // not given
  int64_t kv_cache_bytes = 0;         // 0: the default share
  int32_t num_blocks = 0;             // 0: by memory
  int32_t block_tokens = 16;
  std::optional<DType> kv_dtype;                   // none: as the backend computes
  int32_t max_sequences = 0, max_step_tokens = 0;  // 0: the runtime's defaults
  bool prefix_caching = true, chunked_prefill = true;
  int32_t long_prefill_tokens = 0;
  bool priority_scheduling = false, share_by_key = true;
  int32_t max_waiting = 1024;
  GraphOptions graphs;
  double step_timeout_s = 300;

  // Replies
  ReasoningMode reasoning = ReasoningMode::kSplit;
  bool tool_parser = false, auto_tool_choice = false, exclude_tools_when_none = false;
  std::string chat_template;  // a file; empty: the model's
  json::Object template_kwargs;
  bool parse_special_in_text = false;
  std::string response_role = "assistant";
  int32_t max_logprobs = 20;
  bool tokens_as_ids = false;
  bool force_include_usage = false;
  int32_t stream_interval = 1;

  // Server
  std::string host;  // empty: all interfaces
  uint16_t port = 8000;
  std::string uds;
  std::vector<std::string> api_keys;
  std::string root_path, ssl_keyfile, ssl_certfile, ssl_ciphers, ssl_ca_certs;
  int32_t ssl_cert_reqs = 0;
  std::vector<std::string> allowed_origins{"*"}, allowed_methods{"*"}, allowed_headers{"*"};
  bool allow_credentials = false;
  bool request_id_headers = false;
  int32_t shutdown_timeout_s = 0;
  bool log_requests = false, log_stats = true;
  double stats_interval_s = 10;
  LogLevel log_level = LogLevel::kInfo;

  std::vector<std::string> warnings, notes;  // to be logged, one line each
};

// From parsed flags (the config file merged in) and the environment. An error of kind kUnsupported
// is a refusal with its reason; any other is a usage error.
Result<ServeOptions> make_serve_options(ParsedFlags flags, const Environment& environment);

// The whole way: parse, read --config, merge, check. `flags.help` set: show help instead.
Result<ParsedFlags> parse_serve_flags(std::span<const std::string> arguments);

}  // namespace m2::cli
