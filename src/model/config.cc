#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/file.h"

namespace m2 {
namespace {

using json::Value;

constexpr const char* kServed = "MiniMax-M2, M2.1, M2.5 and M2.7 (model_type \"minimax_m2\")";
constexpr size_t kMaxConfigBytes = 4u << 20;

template <typename... Args>
tl::unexpected<Error> unsupported(std::string field, fmt::format_string<Args...> format,
                                  Args&&... args) {
  return fail(ErrorKind::kUnsupported, std::move(field), format, std::forward<Args>(args)...);
}

// Null counts as absent everywhere: older files spell unused keys out as null.
const Value* present(const Value& object, std::string_view key) {
  const Value* value = object.find(key);
  return value && !value->is_null() ? value : nullptr;
}

// A value as it stands in the file, short enough for a message.
std::string shown(const Value& value) {
  std::string text = json::dump(value);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

// The bounds are far above any real model and far below where products of two sizes overflow.
Result<int32_t> read_int(const Value& object, const char* key, int32_t least, int32_t most) {
  const Value* value = present(object, key);
  if (!value) return invalid(key, "{} is missing", key);
  if (!value->is_int()) return invalid(key, "{} must be an integer, got {}", key, shown(*value));
  if (value->as_int() < least || value->as_int() > most) {
    return invalid(key, "{} must be in [{}, {}], got {}", key, least, most, value->as_int());
  }
  return static_cast<int32_t>(value->as_int());
}

Result<int32_t> read_int_or(const Value& object, const char* key, int32_t least, int32_t most,
                            int32_t otherwise) {
  if (!present(object, key)) return otherwise;
  return read_int(object, key, least, most);
}

Result<double> read_positive(const Value& object, const char* key, double most) {
  const Value* value = present(object, key);
  if (!value) return invalid(key, "{} is missing", key);
  if (!value->is_number()) return invalid(key, "{} must be a number, got {}", key, shown(*value));
  const double number = value->as_double();
  if (!(number > 0 && number <= most)) {
    return invalid(key, "{} must be in (0, {}], got {}", key, most, number);
  }
  return number;
}

// A key that may be absent but, where it stands, must say what this family's code does.
Status require(const Value& object, const char* key, const Value& wanted, std::string_view why) {
  const Value* value = present(object, key);
  if (!value) return {};
  const bool same = wanted.is_number() && value->is_number()
                        ? value->as_double() == wanted.as_double()
                        : *value == wanted;
  if (same) return {};
  return unsupported(key, "{} {} is not supported: {}", key, shown(*value), why);
}

Status check_model_type(const Value& config) {
  const Value* type = present(config, "model_type");
  if (!type || !type->is_string()) {
    return invalid("model_type", "model_type is missing; served are {}", kServed);
  }
  const std::string& name = type->as_string();
  if (name == "minimax_m2") return {};
  if (name.starts_with("minimax_m3")) {
    return unsupported("model_type",
                       "model_type \"{}\" is MiniMax-M3, another architecture (sparse attention, "
                       "shared and dense layers), which is not served; served are {}",
                       name, kServed);
  }
  return unsupported("model_type", "model_type {} is not served; served are {}", shown(*type),
                     kServed);
}

// Everything that the forward pass takes for granted.
Status check_architecture(const Value& config) {
  M2_TRY(require(config, "hidden_act", "silu", "experts are gated by SiLU"));
  M2_TRY(require(config, "scoring_func", "sigmoid", "the router scores by sigmoid"));
  M2_TRY(require(config, "tie_word_embeddings", false, "lm_head has its own weights"));
  M2_TRY(require(config, "attention_bias", false, "the attention has no bias"));
  M2_TRY(require(config, "use_qk_norm", true, "q and k are always normalised"));
  M2_TRY(require(config, "qk_norm_type", "per_layer", "q and k are normalised over all heads"));
  M2_TRY(require(config, "shared_intermediate_size", 0, "there is no shared expert"));
  M2_TRY(require(config, "routed_scaling_factor", 1, "expert outputs are not scaled"));
  M2_TRY(require(config, "use_grouped_topk", false, "experts are not grouped"));
  for (const char* key : {"sliding_window", "attn_window_size"}) {
    M2_TRY(require(config, key, 0, "every layer attends to the whole sequence"));
  }
  for (const char* key : {"layernorm_full_attention_alpha", "layernorm_full_attention_beta",
                          "layernorm_linear_attention_alpha", "layernorm_linear_attention_beta",
                          "layernorm_mlp_alpha", "layernorm_mlp_beta"}) {
    M2_TRY(require(config, key, 1, "residuals are not weighted"));
  }
  return {};
}

// One entry a layer, each saying full softmax attention: 1 in the family's own files,
// "full_attention" in files that transformers wrote again.
Status check_layer_list(const Value& config, const char* key, const Value& full, int32_t layers) {
  const Value* list = present(config, key);
  if (!list) return {};
  if (!list->is_array()) return invalid(key, "{} must be an array, got {}", key, shown(*list));
  const json::Array& entries = list->as_array();
  if (entries.size() != static_cast<size_t>(layers)) {
    return invalid(key, "{} has {} entries for {} layers", key, entries.size(), layers);
  }
  for (size_t layer = 0; layer < entries.size(); ++layer) {
    if (entries[layer] == full) continue;
    return unsupported(key, "{}[{}] is {}: only full softmax attention ({}) is served", key, layer,
                       shown(entries[layer]), shown(full));
  }
  return {};
}

const char* const kRopeParents[] = {"rope_parameters", "rope_scaling"};

Status check_rope_type(const Value& config) {
  for (const char* parent : kRopeParents) {
    const Value* rope = present(config, parent);
    if (!rope) continue;
    if (!rope->is_object()) return invalid(parent, "{} must be an object", parent);
    for (const char* key : {"rope_type", "type"}) {
      const Value* type = present(*rope, key);
      if (type && *type != Value("default")) {
        return unsupported(parent, "{}.{} {} is not supported: only plain RoPE is", parent, key,
                           shown(*type));
      }
    }
  }
  return {};
}

// rope_theta and rotary_dim stand at the top (the family's own files) or, since transformers 5, as
// rope_parameters.{rope_theta, partial_rotary_factor}. Where both stand they must agree: a rotary
// factor that is dropped or applied twice gives garbled text, not an error.
Status read_rope(const Value& config, ModelConfig& out) {
  M2_TRY(check_rope_type(config));
  const Value* rope = present(config, "rope_parameters");
  const bool nested_theta = rope && present(*rope, "rope_theta");
  M2_ASSIGN(out.rope_theta, read_positive(nested_theta ? *rope : config, "rope_theta", 1e12));
  if (nested_theta && present(config, "rope_theta")) {
    M2_ASSIGN(const double top, read_positive(config, "rope_theta", 1e12));
    if (top != out.rope_theta) {
      return invalid("rope_theta", "rope_theta {} and rope_parameters.rope_theta {} differ", top,
                     out.rope_theta);
    }
  }
  const Value* parent = rope && present(*rope, "partial_rotary_factor") ? rope : &config;
  if (!present(*parent, "partial_rotary_factor")) {
    M2_ASSIGN(out.rotary_dim, read_int(config, "rotary_dim", 2, out.head_dim));
  } else {
    M2_ASSIGN(const double factor, read_positive(*parent, "partial_rotary_factor", 1));
    const double rotated = factor * out.head_dim;
    out.rotary_dim = static_cast<int32_t>(std::lround(rotated));
    if (std::abs(rotated - out.rotary_dim) > 1e-6) {
      return invalid("partial_rotary_factor", "partial_rotary_factor {} of head_dim {} is no width",
                     factor, out.head_dim);
    }
    M2_ASSIGN(const int32_t top,
              read_int_or(config, "rotary_dim", 2, out.head_dim, out.rotary_dim));
    if (top != out.rotary_dim) {
      return invalid("rotary_dim",
                     "rotary_dim {} and partial_rotary_factor {} of head_dim {} (= {}) differ", top,
                     factor, out.head_dim, out.rotary_dim);
    }
  }
  if (out.rotary_dim < 2 || out.rotary_dim % 2) {
    return invalid("rotary_dim", "rotary_dim must be even and at least 2, got {}", out.rotary_dim);
  }
  return {};
}

// The family's own FP8 alone: one scale a 128x128 block of weights, activations quantised as they
// come (or not at all), so that no scale of theirs is in the file.
Status check_fp8(const Value& quantization) {
  const Value* format = present(quantization, "fmt");
  if (format && *format != Value("float8_e4m3fn") && *format != Value("e4m3")) {
    return unsupported("quantization_config", "fp8 format {} is not supported: float8_e4m3fn is",
                       shown(*format));
  }
  const Value* block = present(quantization, "weight_block_size");
  if (!block || *block != Value(json::Array{kFp8BlockSize, kFp8BlockSize})) {
    return unsupported("quantization_config",
                       "fp8 weight_block_size {} is not supported: [128, 128] is",
                       block ? shown(*block) : "(absent: one scale a tensor)");
  }
  const Value* scheme = present(quantization, "activation_scheme");
  if (scheme && *scheme != Value("dynamic")) {
    return unsupported("quantization_config",
                       "fp8 activation_scheme {} is not supported: \"dynamic\" is", shown(*scheme));
  }
  return {};
}

// Other formats hold other tensors: to go on would only give a list of missing ones.
Result<WeightFormat> read_weight_format(const Value& config) {
  constexpr const char* kKnown = "fp8 with 128x128 blocks and unquantised bf16 are";
  // Where other tools put their settings: MLX, and older compressed-tensors.
  for (const char* key : {"quantization", "compression_config"}) {
    if (const Value* other = present(config, key)) {
      return unsupported(key, "{} {} is not supported: {}", key, shown(*other), kKnown);
    }
  }
  const Value* quantization = present(config, "quantization_config");
  if (!quantization) return WeightFormat::kBF16;
  const Value* method = present(*quantization, "quant_method");
  if (!method) method = present(*quantization, "quant_algo");
  if (!method || !method->is_string()) {
    return unsupported("quantization_config",
                       "quantization_config without quant_method is not supported: {}", kKnown);
  }
  if (method->as_string() != "fp8") {
    return unsupported("quantization_config", "quant_method {} is not supported: {}",
                       shown(*method), kKnown);
  }
  M2_TRY(check_fp8(*quantization));
  return WeightFormat::kFp8Block128;
}

Status check_divisible(const char* name, int64_t value, const char* by_name, int64_t by) {
  if (value % by == 0) return {};
  return invalid(name, "{} {} is not a multiple of {} {}", name, value, by_name, by);
}

// What the kernels cut by. A width that does not divide is a broken file, not another member.
Status check_widths(const ModelConfig& config) {
  M2_TRY(check_divisible("num_attention_heads", config.num_heads, "num_key_value_heads",
                         config.num_kv_heads));
  M2_TRY(check_divisible("head_dim", config.head_dim, "the vector width", 8));
  if (config.experts_per_token > config.num_experts) {
    return invalid("num_experts_per_tok", "num_experts_per_tok {} is above num_local_experts {}",
                   config.experts_per_token, config.num_experts);
  }
  // Ranks cut at multiples of 64, FP8 scales at 128.
  const int64_t block = config.fp8() ? kFp8BlockSize : 64;
  const char* block_name = config.fp8() ? "the fp8 block" : "the least slice";
  M2_TRY(check_divisible("hidden_size", config.hidden_size, block_name, block));
  M2_TRY(check_divisible("intermediate_size", config.expert_width, block_name, block));
  M2_TRY(check_divisible("num_attention_heads x head_dim", config.q_width(), block_name, block));
  return check_divisible("num_key_value_heads x head_dim", config.kv_width(), block_name, block);
}

Status read_sizes(const Value& value, ModelConfig& config) {
  M2_ASSIGN(config.hidden_size, read_int(value, "hidden_size", 1, 1 << 16));
  M2_ASSIGN(config.num_layers, read_int(value, "num_hidden_layers", 1, 1024));
  M2_ASSIGN(config.num_heads, read_int(value, "num_attention_heads", 1, 1024));
  M2_ASSIGN(config.num_kv_heads, read_int(value, "num_key_value_heads", 1, 1024));
  M2_ASSIGN(config.head_dim, read_int(value, "head_dim", 8, 1024));
  M2_ASSIGN(config.expert_width, read_int(value, "intermediate_size", 1, 1 << 16));
  M2_ASSIGN(config.num_experts, read_int(value, "num_local_experts", 1, 4096));
  M2_ASSIGN(config.experts_per_token, read_int(value, "num_experts_per_tok", 1, 64));
  M2_ASSIGN(config.vocab_size, read_int(value, "vocab_size", 1, 1 << 22));
  M2_ASSIGN(config.max_position_embeddings, read_int(value, "max_position_embeddings", 1, 1 << 24));
  return {};
}

Status read_mtp(const Value& value, ModelConfig& config) {
  // The published files promise these modules and ship none; a file that has them is tolerated.
  M2_ASSIGN(const int32_t modules, read_int_or(value, "num_mtp_modules", 0, 64, 0));
  M2_ASSIGN(const int32_t layers, read_int_or(value, "mtp_transformer_layers", 0, 64, 1));
  config.num_mtp_layers = modules * std::max(layers, 1);
  return {};
}

// Key by key, so that one key of an object can be set without repeating the others.
void override_with(const json::Object& overrides, json::Object& object) {
  for (const auto& [key, value] : overrides) {
    Value* old = object.find(key);
    if (old && old->is_object() && value.is_object()) {
      override_with(value.as_object(), old->as_object());
    } else {
      object.set(key, value);
    }
  }
}

}  // namespace

Result<ModelConfig> parse_config(const json::Value& value) {
  if (!value.is_object()) {
    return invalid("", "must be a JSON object, got {}", json::type_name(value));
  }
  // In the order of what a reader can do about it: another model, another quantisation, a detail.
  M2_TRY(check_model_type(value));
  ModelConfig config;
  M2_ASSIGN(config.weight_format, read_weight_format(value));
  M2_TRY(check_architecture(value));
  M2_TRY(read_sizes(value, config));
  M2_ASSIGN(const double epsilon, read_positive(value, "rms_norm_eps", 0.1));
  config.rms_norm_eps = static_cast<float>(epsilon);
  const Value* bias = present(value, "use_routing_bias");
  if (bias && !bias->is_bool()) {
    return invalid("use_routing_bias", "use_routing_bias must be a boolean, got {}", shown(*bias));
  }
  if (bias) config.use_routing_bias = bias->as_bool();
  M2_TRY(read_rope(value, config));
  M2_TRY(read_mtp(value, config));
  M2_TRY(check_layer_list(value, "attn_type_list", 1, config.num_layers));
  M2_TRY(check_layer_list(value, "layer_types", "full_attention", config.num_layers));
  M2_TRY(check_widths(config));
  return config;
}

Result<ModelConfig> parse_config_text(const std::string& text, const json::Object& overrides) {
  auto value = json::parse(text);
  if (value && value->is_object()) override_with(overrides, value->as_object());
  return std::move(value).and_then(parse_config);
}

Result<ModelConfig> load_config(const std::string& folder, const json::Object& overrides) {
  const std::string path = folder + "/config.json";
  auto text = read_file(path, kMaxConfigBytes);
  if (!text) {
    text.error().field = "model";
    return tl::unexpected(std::move(text.error()));
  }
  auto config = parse_config_text(*text, overrides);
  if (!config) config.error().message = path + ": " + config.error().message;
  return config;
}

}  // namespace m2
