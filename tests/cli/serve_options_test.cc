#include "cli/serve_options.h"

#include <gtest/gtest.h>

#include <fstream>

#include "cli/help.h"
#include "cli/serve_flags.h"
#include "tests/temporary_folder.h"

namespace m2::cli {
namespace {

using Words = std::vector<std::string>;

Result<ServeOptions> options_of(const Words& words, const Environment& environment = {}) {
  auto flags = parse_serve_flags(words);
  if (!flags) return tl::unexpected(flags.error());
  return make_serve_options(std::move(*flags), environment);
}

std::string error_of(const Words& words) {
  const auto options = options_of(words);
  return options ? "" : options.error().message;
}

// The deployment guide's three commands, as a shell passes them on.
TEST(ServeOptions, TheGuidesFirstCommand) {
  const auto options =
      options_of({"MiniMaxAI/MiniMax-M2.5", "--trust-remote-code", "--tensor-parallel-size", "4",
                  "--enable-auto-tool-choice", "--tool-call-parser", "minimax_m2",
                  "--reasoning-parser", "minimax_m2_append_think"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->model, "MiniMaxAI/MiniMax-M2.5");
  EXPECT_EQ(options->served_names, Words{"MiniMaxAI/MiniMax-M2.5"});
  EXPECT_EQ(options->tensor_parallel, 4);
  EXPECT_FALSE(options->expert_parallel);
  EXPECT_TRUE(options->tool_parser && options->auto_tool_choice);
  EXPECT_EQ(options->reasoning, ReasoningMode::kAppendThink);
}

TEST(ServeOptions, TheGuidesSecondCommand) {
  const auto options =
      options_of({"MiniMaxAI/MiniMax-M2.5", "--trust-remote-code", "--enable_expert_parallel",
                  "--tensor-parallel-size", "8", "--enable-auto-tool-choice", "--tool-call-parser",
                  "minimax_m2", "--reasoning-parser", "minimax_m2_append_think"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->tensor_parallel, 8);
  EXPECT_TRUE(options->expert_parallel);
}

TEST(ServeOptions, TheGuidesThirdCommand) {
  const auto options =
      options_of({"MiniMaxAI/MiniMax-M2.5", "--trust-remote-code", "--enable_expert_parallel",
                  "--tensor-parallel-size", "8", "--enable-auto-tool-choice", "--tool-call-parser",
                  "minimax_m2", "--reasoning-parser", "minimax_m2_append_think",
                  "--compilation-config", "{\"cudagraph_mode\": \"PIECEWISE\"}"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->graphs.mode, GraphMode::kPiecewise);
}

TEST(ServeOptions, Graphs) {
  const auto graphs = [](Words words) {
    words.insert(words.begin(), "model");
    const auto options = options_of(words);
    EXPECT_TRUE(options) << options.error().message;
    return options ? options->graphs : GraphOptions{};
  };
  EXPECT_EQ(graphs({}).mode, GraphMode::kFullDecodeOnly);
  EXPECT_EQ(graphs({"--enforce-eager"}).mode, GraphMode::kNone);
  EXPECT_EQ(graphs({"-O0"}).mode, GraphMode::kNone);
  EXPECT_EQ(graphs({"-O", "1"}).mode, GraphMode::kPiecewise);
  EXPECT_EQ(graphs({"-O3"}).mode, GraphMode::kFullDecodeOnly);
  EXPECT_EQ(graphs({"-cc.cudagraph_mode=full_and_piecewise"}).mode, GraphMode::kFullAndPiecewise);
  EXPECT_EQ(graphs({"-cc.cudagraph_mode=FULL", "--enforce-eager"}).mode, GraphMode::kNone);
  EXPECT_EQ(graphs({"-O0", "-cc.cudagraph_mode", "FULL"}).mode, GraphMode::kFull);
  const std::vector<int32_t> sizes{1, 2, 24};
  EXPECT_EQ(graphs({"--cudagraph-capture-sizes", "1", "2", "24"}).sizes, sizes);
  EXPECT_EQ(graphs({"-cc.cudagraph_capture_sizes+=1,2,24"}).sizes, sizes);
  EXPECT_EQ(graphs({"--max-cudagraph-capture-size", "64"}).max_size, 64);
  EXPECT_NE(error_of({"model", "-cc.cudagraph_mode=ALL"}).find("NONE, PIECEWISE"),
            std::string::npos);
  EXPECT_NE(error_of({"model", "--cudagraph-capture-sizes", "0"}).find("1 to 65536"),
            std::string::npos);
}

TEST(ServeOptions, DefaultsAreVllms) {
  const auto options = options_of({"model"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->port, 8000);
  EXPECT_EQ(options->host, "");
  EXPECT_FALSE(options->max_model_tokens);
  EXPECT_TRUE(options->prefix_caching && options->chunked_prefill && options->log_stats);
  EXPECT_EQ(options->max_logprobs, 20);
}

TEST(ServeOptions, LengthsTakeNumbersForPeople) {
  EXPECT_EQ(*options_of({"m", "--max-model-len", "190k"})->max_model_tokens, 190000);
  EXPECT_FALSE(options_of({"m", "--max-model-len", "auto"})->max_model_tokens);
  EXPECT_FALSE(options_of({"m", "--max-model-len=-1"})->max_model_tokens);
  EXPECT_NE(error_of({"m", "--max-model-len", "0"}), "");
}

TEST(ServeOptions, OlderParserNames) {
  for (const char* name : {"minimax_m2", "minimax-m2", "MiniMax-M2"}) {
    const auto options = options_of({"m", "--reasoning-parser", name, "--tool-call-parser", name});
    ASSERT_TRUE(options) << name;
    EXPECT_EQ(options->reasoning, ReasoningMode::kSplit);
  }
  EXPECT_NE(error_of({"m", "--reasoning-parser", "deepseek_r1"}).find("deepseek_r1"),
            std::string::npos);
  EXPECT_NE(error_of({"m", "--tool-call-parser", "hermes"}).find("hermes"), std::string::npos);
  EXPECT_NE(error_of({"m", "--enable-auto-tool-choice"}).find("--tool-call-parser"),
            std::string::npos);
}

TEST(ServeOptions, BoundsNameTheFlagAndTheLimit) {
  EXPECT_NE(error_of({"m", "--port", "70000"}).find("65535"), std::string::npos);
  EXPECT_NE(error_of({"m", "--tensor-parallel-size", "0"}).find("tensor-parallel-size"),
            std::string::npos);
  EXPECT_NE(error_of({"m", "--gpu-memory-utilization", "1.5"}).find("1.5"), std::string::npos);
  EXPECT_NE(error_of({"m", "--scheduling-policy", "lifo"}).find("fcfs"), std::string::npos);
  EXPECT_NE(error_of({"m", "--ssl-keyfile", "k.pem"}).find("--ssl-certfile"), std::string::npos);
  EXPECT_NE(error_of({}).find("m2 serve MODEL"), std::string::npos);
}

TEST(ServeOptions, TheKvCacheHasVllmsNames) {
  EXPECT_FALSE(options_of({"m"})->kv_dtype);
  EXPECT_FALSE(options_of({"m", "--kv-cache-dtype", "auto"})->kv_dtype);
  EXPECT_EQ(options_of({"m", "--kv-cache-dtype", "bfloat16"})->kv_dtype, DType::kBF16);
  for (const char* name : {"fp8", "fp8_e4m3"}) {
    EXPECT_EQ(options_of({"m", "--kv-cache-dtype", name})->kv_dtype, DType::kF8E4M3);
  }
  EXPECT_NE(error_of({"m", "--kv-cache-dtype", "fp8_e5m2"}).find("fp8_e4m3"), std::string::npos);
}

TEST(ServeOptions, OverridesOfTheConfigAreJsonOrDotted) {
  const auto options = options_of({"m", "--hf-overrides", R"({"rope_theta": 1})",
                                   "--hf-overrides.max_position_embeddings", "4096"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(json::dump(options->hf_overrides),
            R"({"rope_theta":1,"max_position_embeddings":4096})");
}

TEST(ServeOptions, CertificatesOfClientsNeedSomethingToCheckAgainst) {
  EXPECT_NE(error_of({"m", "--ssl-cert-reqs", "2"}).find("--ssl-ca-certs"), std::string::npos);
  EXPECT_NE(error_of({"m", "--ssl-cert-reqs", "3"}).find("0 to 2"), std::string::npos);
  EXPECT_NE(error_of({"m", "--ssl-ca-certs", "a.pem"}).find("--ssl-certfile"), std::string::npos);
  const auto options =
      options_of({"m", "--ssl-certfile", "c", "--ssl-keyfile", "k", "--ssl-ca-certs", "a.pem",
                  "--ssl-cert-reqs", "2", "--ssl-ciphers", "ECDHE"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->ssl_cert_reqs, 2);
}

TEST(ServeOptions, KeysComeFromTheFlagElseTheEnvironment) {
  const Environment environment = parse_environment({"VLLM_API_KEY=v", "M2_API_KEY=m"});
  EXPECT_EQ(options_of({"m"}, environment)->api_keys, (Words{"v", "m"}));
  EXPECT_EQ(options_of({"m", "--api-key", "f"}, environment)->api_keys, Words{"f"});
}

TEST(ServeOptions, TheStatisticsLineComesAsOftenAsVllmsVariableSays) {
  EXPECT_EQ(options_of({"m"})->stats_interval_s, 10);
  EXPECT_EQ(options_of({"m"}, parse_environment({"VLLM_LOG_STATS_INTERVAL=2.5"}))->stats_interval_s,
            2.5);
  for (const char* bad : {"x", "0", "-1", "1e9"}) {
    const std::string entry = std::string("VLLM_LOG_STATS_INTERVAL=") + bad;
    EXPECT_FALSE(options_of({"m"}, parse_environment({entry}))) << bad;
  }
}

TEST(ServeOptions, OtherVariablesOfVllmGiveOneWarning) {
  const Environment environment = parse_environment(
      {"VLLM_USE_V1=1", "VLLM_LOGGING_LEVEL=DEBUG", "SAFETENSORS_FAST_GPU=1", "HOME=/root"});
  EXPECT_EQ(environment.ignored, (Words{"VLLM_USE_V1", "VLLM_LOGGING_LEVEL"}));
  const auto options = options_of({"m"}, environment);
  ASSERT_EQ(options->warnings.size(), 1u);
  EXPECT_NE(options->warnings[0].find("VLLM_USE_V1, VLLM_LOGGING_LEVEL"), std::string::npos);
}

class ConfigFile : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = folder_ / "config.yaml";
    std::ofstream(path) << text;
    return path;
  }

 private:
  const test::TemporaryFolder folder_;
};

TEST_F(ConfigFile, GivesDefaultsThatTheCommandLineBeats) {
  const std::string path = write(
      "model: some/model\nport: 9000\nmax_model_len: 64k\nserved-model-name: [a, b]\n"
      "enable-prefix-caching: false\nenable-auto-tool-choice: true\n"
      "tool-call-parser: minimax_m2\ncompilation-config:\n  cudagraph_mode: PIECEWISE\n"
      "default-chat-template-kwargs: {model_identity: \"I\", depth: 2}\n");
  const auto options = options_of({"--config", path, "--port", "9001"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->model, "some/model");
  EXPECT_EQ(options->port, 9001);
  EXPECT_EQ(*options->max_model_tokens, 64000);
  EXPECT_EQ(options->served_names, (Words{"a", "b"}));
  EXPECT_FALSE(options->prefix_caching);
  EXPECT_TRUE(options->auto_tool_choice);
  EXPECT_EQ(json::dump(options->template_kwargs), R"({"model_identity":"I","depth":2})");
}

TEST_F(ConfigFile, FaultsNameTheFile) {
  for (const char* text : {"prot: 1\n", "port: [1]\n", "- a\n", "port: {\n", "port: x\n",
                           "pooler-config: {a: 1}\n", "config: other.yaml\n"}) {
    const std::string path = write(text);
    EXPECT_NE(error_of({"m", "--config", path}), "") << text;
  }
  EXPECT_NE(error_of({"m", "--config", "/nowhere.yaml"}).find("/nowhere.yaml"), std::string::npos);
  EXPECT_NE(error_of({"m", "--config", write("prot: 1\n")}).find("port"), std::string::npos);
}

TEST(ServeOptions, ToolChoiceCannotBeTurnedOffAndSaysSo) {
  const auto options = options_of({"m", "--no-enable-auto-tool-choice"});
  ASSERT_TRUE(options) << options.error().message;
  ASSERT_EQ(options->warnings.size(), 1u);
  EXPECT_NE(options->warnings[0].find("tool_choice"), std::string::npos);
  EXPECT_TRUE(options_of({"m"})->warnings.empty());
}

TEST(Help, ShowsGroupsFlagsAndReasons) {
  const auto help = [](std::string_view topic) {
    const auto text = command_help(serve_command(), topic);
    return text ? *text : "error: " + text.error().message;
  };
  const std::string all = help("all");
  for (const Flag& flag : serve_command().flags) {
    EXPECT_NE(all.find("--" + std::string(flag.name)), std::string::npos) << flag.name;
  }
  EXPECT_NE(help("port").find("8000"), std::string::npos);
  EXPECT_NE(help("server").find("--port"), std::string::npos);
  EXPECT_EQ(help("server").find("--max-num-seqs"), std::string::npos);
  EXPECT_NE(help("reasoning-parser").find("(minimax_m2)"), std::string::npos);
  EXPECT_EQ(help("prot").find("error: --help=prot is neither a flag nor a heading; did you mean"),
            0u);
  EXPECT_NE(help("prot").find("--help=port"), std::string::npos);
  EXPECT_EQ(help("qqqqqqqqqqqqq").find("error: "), 0u);
}

}  // namespace
}  // namespace m2::cli
