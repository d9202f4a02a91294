#include "model/config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/temporary_folder.h"

namespace m2 {
namespace {

#define EXPECT_ERROR(error, part) EXPECT_NE((error).find(part), std::string::npos) << (error)

json::Value parsed(std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value.has_value()) << value.error().message;
  return *value;
}

// The published file, with the keys of the older one that mean nothing.
json::Value published() {
  json::Value config = parsed(R"({
    "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
    "auto_map": {"AutoConfig": "configuration_minimax_m2.MiniMaxM2Config"},
    "hidden_size": 3072, "intermediate_size": 1536, "num_hidden_layers": 62,
    "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 200064, "max_position_embeddings": 196608, "rms_norm_eps": 1e-06,
    "rope_theta": 5000000, "rotary_dim": 64, "num_local_experts": 256, "num_experts_per_tok": 8,
    "scoring_func": "sigmoid", "use_routing_bias": true, "use_qk_norm": true,
    "qk_norm_type": "per_layer", "shared_intermediate_size": 0, "hidden_act": "silu",
    "tie_word_embeddings": false, "use_cache": true, "use_mtp": true, "num_mtp_modules": 3,
    "mtp_transformer_layers": 1, "quantization_config": {"activation_scheme": "dynamic",
      "fmt": "float8_e4m3fn", "quant_method": "fp8", "weight_block_size": [128, 128],
      "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]},
    "bos_token_id": null, "eos_token_id": null, "sliding_window": null,
    "layernorm_full_attention_alpha": 1.0, "layernorm_full_attention_beta": 1.0,
    "layernorm_mlp_alpha": 1.0, "mlp_intermediate_size": 8192, "shared_moe_mode": "sigmoid",
    "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "attention_dropout": 0.0,
    "attn_window_size": null, "initializer_range": 0.02, "output_router_logits": false})");
  config.as_object().set("attn_type_list", json::Array(62, 1));
  return config;
}

// The published file with one key changed; the value is JSON.
json::Value with(std::string_view key, std::string_view value) {
  json::Value config = published();
  config.as_object().set(key, parsed(value));
  return config;
}

json::Value without(std::string_view key) {
  json::Value config = published();
  EXPECT_TRUE(config.as_object().erase(key)) << key;
  return config;
}

Error error_of(const json::Value& value) {
  const auto config = parse_config(value);
  EXPECT_FALSE(config.has_value()) << json::dump(value);
  return config ? Error{} : config.error();
}

TEST(ConfigTest, ReadsThePublishedFile) {
  const auto config = parse_config(published());
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->hidden_size, 3072);
  EXPECT_EQ(config->num_layers, 62);
  EXPECT_EQ(config->q_width(), 6144);
  EXPECT_EQ(config->kv_width(), 1024);
  EXPECT_EQ(config->rotary_dim, 64);
  EXPECT_EQ(config->expert_width, 1536);
  EXPECT_EQ(config->num_experts, 256);
  EXPECT_EQ(config->experts_per_token, 8);
  EXPECT_EQ(config->vocab_size, 200064);
  EXPECT_EQ(config->max_position_embeddings, 196608);
  EXPECT_EQ(config->rms_norm_eps, 1e-6f);
  EXPECT_EQ(config->rope_theta, 5e6);
  EXPECT_TRUE(config->use_routing_bias);
  EXPECT_EQ(config->weight_format, WeightFormat::kFp8Block128);
  EXPECT_EQ(config->num_mtp_layers, 3);
}

TEST(ConfigTest, MembersDifferByValuesOnly) {
  EXPECT_EQ(parse_config(with("max_position_embeddings", "204800"))->max_position_embeddings,
            204800);
  EXPECT_EQ(parse_config(without("quantization_config"))->weight_format, WeightFormat::kBF16);
  EXPECT_FALSE(parse_config(with("use_routing_bias", "false"))->use_routing_bias);
  EXPECT_EQ(parse_config(without("num_mtp_modules"))->num_mtp_layers, 0);
}

TEST(ConfigTest, ReadsRopeAsNewerFilesWriteIt) {
  json::Value config = published();
  config.as_object().erase("rope_theta");
  config.as_object().erase("rotary_dim");
  config.as_object().set("rope_parameters",
                         parsed(R"({"rope_type": "default", "rope_theta": 5000000.0,
                                    "partial_rotary_factor": 0.5})"));
  config.as_object().set("layer_types", json::Array(62, "full_attention"));
  EXPECT_EQ(parse_config(config).value(), parse_config(published()).value());
  config.as_object().set("rotary_dim", 64);
  config.as_object().set("rope_theta", 5000000);
  EXPECT_EQ(parse_config(config).value(), parse_config(published()).value());
  // A factor that was dropped (all 128 dims) or applied twice must not pass.
  config.as_object().set("rotary_dim", 32);
  EXPECT_ERROR(error_of(config).message,
               "rotary_dim 32 and partial_rotary_factor 0.5 of head_dim 128 (= 64) differ");
  config.as_object().set("rotary_dim", 64);
  config.as_object().set("rope_theta", 10000);
  EXPECT_ERROR(error_of(config).message, "rope_theta 10000 and rope_parameters.rope_theta");
  EXPECT_ERROR(error_of(without("rotary_dim")).message, "rotary_dim is missing");
  EXPECT_ERROR(error_of(with("rope_scaling", R"({"type": "yarn", "factor": 4})")).message,
               "rope_scaling.type \"yarn\" is not supported");
}

TEST(ConfigTest, RefusesOtherModelsByName) {
  const Error llama = error_of(with("model_type", "\"llama\""));
  EXPECT_EQ(llama.kind, ErrorKind::kUnsupported);
  EXPECT_EQ(llama.field, "model_type");
  EXPECT_EQ(llama.message,
            "model_type \"llama\" is not served; served are MiniMax-M2, M2.1, M2.5 and M2.7 "
            "(model_type \"minimax_m2\")");
  for (const char* name : {"\"minimax_m3\"", "\"minimax_m3_vl\""}) {
    const Error error = error_of(with("model_type", name));
    EXPECT_ERROR(error.message, "MiniMax-M3, another architecture");
    EXPECT_ERROR(error.message, "served are MiniMax-M2, M2.1, M2.5 and M2.7");
  }
  EXPECT_ERROR(error_of(without("model_type")).message, "model_type is missing");
  EXPECT_ERROR(error_of(parsed("[]")).message, "must be a JSON object, got an array");
}

TEST(ConfigTest, RefusesOtherQuantisationsByName) {
  for (const char* method : {"awq", "gptq", "modelopt", "nvfp4", "compressed-tensors", "gguf",
                             "bitsandbytes", "mxfp4"}) {
    const Error error = error_of(
        with("quantization_config", fmt::format(R"({{"quant_method": "{}", "bits": 4}})", method)));
    EXPECT_EQ(error.kind, ErrorKind::kUnsupported);
    EXPECT_EQ(error.field, "quantization_config");
    EXPECT_ERROR(error.message, fmt::format("quant_method \"{}\" is not supported", method));
  }
  EXPECT_ERROR(error_of(with("quantization_config", R"({"quant_algo": "NVFP4"})")).message,
               "\"NVFP4\" is not supported");
  EXPECT_ERROR(error_of(with("quantization", R"({"bits": 4})")).message, "{\"bits\":4}");
  EXPECT_ERROR(error_of(with("quantization_config", "{}")).message, "without quant_method");
}

TEST(ConfigTest, RefusesOtherKindsOfFp8) {
  const auto message = [](const char* value) {
    return error_of(with("quantization_config", value)).message;
  };
  EXPECT_ERROR(message(R"({"quant_method": "fp8", "weight_block_size": [64, 128]})"),
               "weight_block_size [64,128] is not supported: [128, 128] is");
  EXPECT_ERROR(message(R"({"quant_method": "fp8"})"), "(absent: one scale a tensor)");
  EXPECT_ERROR(message(R"({"quant_method": "fp8", "weight_block_size": [128, 128],
                           "activation_scheme": "static"})"),
               "activation_scheme \"static\"");
  EXPECT_ERROR(message(R"({"quant_method": "fp8", "weight_block_size": [128, 128],
                           "fmt": "float8_e5m2"})"),
               "fp8 format \"float8_e5m2\"");
}

TEST(ConfigTest, RefusesOtherArchitecturesByName) {
  const struct {
    const char *key, *value;
  } cases[] = {{"scoring_func", "\"softmax\""},      {"tie_word_embeddings", "true"},
               {"sliding_window", "4096"},           {"attn_window_size", "4096"},
               {"qk_norm_type", "\"per_head\""},     {"use_qk_norm", "false"},
               {"attention_bias", "true"},           {"hidden_act", "\"gelu\""},
               {"shared_intermediate_size", "1536"}, {"routed_scaling_factor", "2.0"},
               {"layernorm_mlp_alpha", "3.5"}};
  for (const auto& [key, value] : cases) {
    const Error error = error_of(with(key, value));
    EXPECT_EQ(error.kind, ErrorKind::kUnsupported) << key;
    EXPECT_EQ(error.field, key);
    EXPECT_ERROR(error.message, fmt::format("{} {} is not supported: ", key, value));
  }
}

TEST(ConfigTest, RefusesLayersOfAnotherKind) {
  json::Value config = published();
  json::Array list(62, 1);
  list[7] = 0;
  config.as_object().set("attn_type_list", list);
  EXPECT_ERROR(error_of(config).message, "attn_type_list[7] is 0: only full softmax attention");
  EXPECT_ERROR(error_of(with("attn_type_list", "[1, 1]")).message,
               "attn_type_list has 2 entries for 62 layers");
  EXPECT_ERROR(error_of(with("attn_type_list", "1")).message, "must be an array, got 1");
}

TEST(ConfigTest, RefusesWidthsThatDoNotDivideWithTheNumbers) {
  EXPECT_ERROR(error_of(with("num_key_value_heads", "7")).message,
               "num_attention_heads 48 is not a multiple of num_key_value_heads 7");
  EXPECT_ERROR(error_of(with("hidden_size", "3000")).message,
               "hidden_size 3000 is not a multiple of the fp8 block 128");
  EXPECT_ERROR(error_of(with("intermediate_size", "1500")).message,
               "intermediate_size 1500 is not a multiple of the fp8 block 128");
  EXPECT_ERROR(error_of(with("num_local_experts", "4")).message,
               "num_experts_per_tok 8 is above num_local_experts 4");
  EXPECT_ERROR(error_of(with("rotary_dim", "63")).message, "rotary_dim must be even");
  EXPECT_ERROR(error_of(with("rotary_dim", "130")).message, "rotary_dim must be in [2, 128]");
}

TEST(ConfigTest, BoundsEveryInteger) {
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "intermediate_size", "num_local_experts", "num_experts_per_tok", "vocab_size",
        "max_position_embeddings", "rotary_dim", "num_mtp_modules"}) {
    for (const char* value : {"-1", "2147483648", "99999999999999999999", "1.5", "\"8\"", "true"}) {
      const Error error = error_of(with(key, value));
      EXPECT_EQ(error.field, key) << value;
    }
    if (std::string_view(key) != "num_mtp_modules") {
      EXPECT_ERROR(error_of(without(key)).message, fmt::format("{} is missing", key));
    }
  }
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const char* value : {"0", "-1", "1e300", "\"1\""}) {
      EXPECT_EQ(error_of(with(key, value)).field, key) << value;
    }
  }
}

TEST(ConfigTest, LoadNamesTheFile) {
  const std::string pocket = std::string(M2_SOURCE_DIR) + "/models/pocket";
  const auto absent = load_config(pocket + "/absent");
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().kind, ErrorKind::kNotFound);
  EXPECT_ERROR(absent.error().message,
               "models/pocket/absent/config.json: cannot be opened: No such file");

  const test::TemporaryFolder temporary;
  const std::string& folder = temporary.path();
  std::ofstream(folder + "/config.json") << R"({"model_type": "qwen3"})";
  EXPECT_ERROR(load_config(folder).error().message,
               folder + "/config.json: model_type \"qwen3\" is not served");
  std::ofstream(folder + "/config.json") << std::string((4u << 20) + 1, ' ');
  EXPECT_ERROR(load_config(folder).error().message, "over the limit of 4194304 bytes");
}

TEST(ConfigTest, OverridesTakeThePlaceOfTheFilesValues) {
  const std::string pocket = std::string(M2_SOURCE_DIR) + "/models/pocket";
  const auto overrides = [](std::string_view text) { return json::parse(text)->as_object(); };
  const ModelConfig own = *load_config(pocket);
  auto config = load_config(pocket, overrides(R"({"max_position_embeddings": 4096})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->max_position_embeddings, 4096);
  config->max_position_embeddings = own.max_position_embeddings;
  EXPECT_EQ(*config, own);
  // One key of an object; the others stay the file's.
  const auto format = load_config(pocket, overrides(R"({"quantization_config": {"fmt": "e5m2"}})"));
  ASSERT_FALSE(format);
  EXPECT_ERROR(format.error().message, "e5m2");
  EXPECT_ERROR(load_config(pocket, overrides(R"({"head_dim": 0})")).error().message, "head_dim");
}

}  // namespace
}  // namespace m2
