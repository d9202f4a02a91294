// The sampling defaults that a checkpoint's authors recommend (generation_config.json), used where
// a request says nothing. The defaults of this struct are vLLM's for a folder without that file.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"

namespace m2 {

struct GenerationConfig {
  std::vector<int32_t>
      eos_token_ids;  // empty: the file names none; the tokenizer's is the fallback
  float temperature = 1.0f;
  float top_p = 1.0f;
  float min_p = 0.0f;
  int32_t top_k = 0;  // 0 is off
  float repetition_penalty = 1.0f;
  std::optional<int32_t> max_new_tokens;  // a cap on what a request may generate by default

  bool operator==(const GenerationConfig&) const = default;
};

// Takes the known keys of `value` over those of `config`; unknown keys and nulls are skipped. Also
// what --override-generation-config does. `config` is unchanged on an error.
Status apply_generation_config(const json::Value& value, GenerationConfig& config);

// Reads `folder`/generation_config.json; the defaults when there is no such file.
Result<GenerationConfig> load_generation_config(const std::string& folder);

}  // namespace m2
