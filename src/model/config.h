// The numbers of one checkpoint of the MiniMax-M2 family, read from its config.json. The members of
// the family differ by these values only, never by code: whatever would need other code (another
// model_type, another attention, another quantisation) is refused here by name.
//
// Thread-safety: plain values. Invariants of a parsed config: every number is positive and bounded,
// num_heads divides by num_kv_heads, rotary_dim is even and at most head_dim, experts_per_token is
// at most num_experts; in FP8 every width of a linear layer is a multiple of 128.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "json/json.h"

namespace m2 {

enum class WeightFormat : uint8_t {
  kFp8Block128,  // linears e4m3 with one F32 scale per 128x128 block; the rest BF16 or F32
  kBF16,         // no quantization_config: every linear BF16
};

inline constexpr int32_t kFp8BlockSize = 128;

struct ModelConfig {
  int32_t hidden_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t rotary_dim = 0;    // the first dims of each head, rotated; the rest pass through
  int32_t expert_width = 0;  // intermediate_size of the file: the width of ONE expert
  int32_t num_experts = 0;
  int32_t experts_per_token = 0;
  int32_t vocab_size = 0;  // rows of the embedding; the last ones may belong to no token
  int32_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 0;
  bool use_routing_bias = true;
  WeightFormat weight_format = WeightFormat::kFp8Block128;
  int32_t num_mtp_layers = 0;  // layers past num_layers that a file may hold; always ignored

  int32_t q_width() const { return num_heads * head_dim; }  // not hidden_size
  int32_t kv_width() const { return num_kv_heads * head_dim; }
  bool fp8() const { return weight_format == WeightFormat::kFp8Block128; }

  bool operator==(const ModelConfig&) const = default;
};

// From the value of a config.json. An error of kind kUnsupported is a well-formed model that is not
// served; kInvalidArgument is a malformed one. Error::field is the key at fault.
Result<ModelConfig> parse_config(const json::Value& value);

// From the text of a config.json, with `overrides` as below.
Result<ModelConfig> parse_config_text(const std::string& text, const json::Object& overrides = {});

// Reads `folder`/config.json. Messages start with the file's path.
// `overrides` take the place of the file's values; an object's keys are merged into the file's.
Result<ModelConfig> load_config(const std::string& folder, const json::Object& overrides = {});

}  // namespace m2
