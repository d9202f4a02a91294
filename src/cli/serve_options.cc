#include "cli/serve_options.h"

#include <utility>

#include "cli/config_file.h"
#include "cli/flag_reader.h"
#include "cli/graph_options.h"
#include "cli/serve_flags.h"

namespace m2::cli {
namespace {

constexpr int64_t kMaxTokens = 1 << 24;  // far past any context: keeps every later sum in int32
constexpr int64_t kMaxSequences = 16384;

Status read_model(const ParsedFlags& flags, ServeOptions& out) {
  FlagReader reader(flags);
  reader.text("model", out.model);
  if (!flags.positionals.empty()) {
    if (!out.model.empty() && out.model != flags.positionals[0]) {
      out.warnings.push_back("--model is ignored: the positional argument names the model");
    }
    out.model = flags.positionals[0];
  }
  if (out.model.empty()) {
    return invalid("model", "which model? give a folder or a repository id: m2 serve MODEL");
  }
  reader.texts("served-model-name", out.served_names);
  reader.text("tokenizer", out.tokenizer);
  reader.text("revision", out.revision);
  reader.text("download-dir", out.download_dir);
  if (const json::Value* token = flags.find("hf-token"); token && token->is_string()) {
    reader.text("hf-token",
                out.hf_token);  // alone, it asks for the stored one, which is the default
  }
  out.dummy_weights = reader.choice("load-format", {"auto", "safetensors", "dummy"}) == 2;
  if (flags.find("seed") != nullptr) {
    reader.integer("seed", out.seed.emplace(), 0, std::numeric_limits<int64_t>::max());
  }
  reader.object("hf-overrides", out.hf_overrides);
  const json::Value* length = flags.find("max-model-len");
  out.fit_length = length && *length == int64_t{-1};
  if (length && !out.fit_length) {
    int64_t tokens = 0;
    reader.integer("max-model-len", tokens, 1, kMaxTokens);
    out.max_model_tokens = tokens;
  }
  reader.text("generation-config", out.generation_config);
  reader.object("override-generation-config", out.generation_overrides);
  return reader.status();
}

// vLLM's names. Its other formats belong to hardware or models that are not served.
std::optional<DType> read_kv_dtype(FlagReader& reader) {
  constexpr std::optional<DType> kTypes[] = {std::nullopt, DType::kF32,    DType::kF32,
                                             DType::kBF16, DType::kF8E4M3, DType::kF8E4M3};
  const int type =
      reader.choice("kv-cache-dtype", {"auto", "float32", "float", "bfloat16", "fp8", "fp8_e4m3"});
  return type < 0 ? std::nullopt : kTypes[type];
}

Status read_engine(const ParsedFlags& flags, ServeOptions& out) {
  FlagReader reader(flags);
  if (reader.choice("device", {"auto", "cpu", "cuda"}) >= 0) reader.text("device", out.device);
  reader.integer("threads", out.threads, 1, 1024);
  reader.integer("tensor-parallel-size", out.tensor_parallel, 1, 1024);
  reader.integer("data-parallel-size", out.data_parallel, 1, 1024);
  reader.flag("enable-expert-parallel", out.expert_parallel);
  reader.number("gpu-memory-utilization", out.gpu_memory_utilization, 0.01, 1);
  reader.integer("kv-cache-memory-bytes", out.kv_cache_bytes, 1 << 10, int64_t{1} << 50);
  reader.integer("num-gpu-blocks-override", out.num_blocks, 1, kMaxTokens);
  reader.integer("block-size", out.block_tokens, 1, 4096);
  out.kv_dtype = read_kv_dtype(reader);
  reader.integer("max-num-seqs", out.max_sequences, 1, kMaxSequences);
  reader.integer("max-num-batched-tokens", out.max_step_tokens, 1, kMaxTokens);
  reader.flag("enable-prefix-caching", out.prefix_caching);
  reader.flag("enable-chunked-prefill", out.chunked_prefill);
  reader.integer("long-prefill-token-threshold", out.long_prefill_tokens, 0, kMaxTokens);
  out.priority_scheduling = reader.choice("scheduling-policy", {"fcfs", "priority"}) == 1;
  reader.flag("share-by-key", out.share_by_key);
  reader.integer("max-waiting", out.max_waiting, 1, 1 << 20);
  reader.number("step-timeout", out.step_timeout_s, 0.1, 86400);
  M2_ASSIGN(out.graphs, read_graph_options(flags));
  return reader.status();
}

// Older names of the same parsers are taken too: "minimax-m2", "minimax_m2_reasoning" and the like
// stand in scripts that were written for earlier versions.
std::string parser_name(const json::Value* value) {
  std::string name = value && value->is_string() ? value->as_string() : "";
  for (char& c : name) {
    if (c == '-' || c == '.') c = '_';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

Status read_parsers(const ParsedFlags& flags, ServeOptions& out) {
  const json::Value* reasoning = flags.find("reasoning-parser");
  const std::string mode = parser_name(reasoning);
  if (mode == "minimax_m2_append_think") {
    out.reasoning = ReasoningMode::kAppendThink;
  } else if (reasoning && mode != "minimax_m2") {
    return invalid("reasoning-parser",
                   "--reasoning-parser must be minimax_m2 or minimax_m2_append_think, got '{}'",
                   reasoning->as_string());
  } else if (!reasoning) {
    out.reasoning = ReasoningMode::kSplit;
  }
  const json::Value* tools = flags.find("tool-call-parser");
  if (tools && parser_name(tools) != "minimax_m2") {
    return invalid("tool-call-parser", "--tool-call-parser must be minimax_m2, got '{}'",
                   tools->as_string());
  }
  out.tool_parser = tools != nullptr;
  FlagReader reader(flags);
  reader.flag("enable-auto-tool-choice", out.auto_tool_choice);
  if (const json::Value* given = flags.find("enable-auto-tool-choice");
      given && *given == json::Value(false)) {
    out.warnings.push_back(
        "--no-enable-auto-tool-choice changes nothing: the model may call tools wherever a request "
        "has some, unless the request says tool_choice \"none\"");
  }
  if (out.auto_tool_choice && !out.tool_parser) {
    return invalid("enable-auto-tool-choice",
                   "--enable-auto-tool-choice needs --tool-call-parser minimax_m2");
  }
  return reader.status();
}

Status read_replies(const ParsedFlags& flags, ServeOptions& out) {
  M2_TRY(read_parsers(flags, out));
  FlagReader reader(flags);
  reader.flag("exclude-tools-when-tool-choice-none", out.exclude_tools_when_none);
  reader.text("chat-template", out.chat_template);
  reader.object("default-chat-template-kwargs", out.template_kwargs);
  reader.flag("parse-special-in-text", out.parse_special_in_text);
  reader.text("response-role", out.response_role);
  reader.integer("max-logprobs", out.max_logprobs, -1, kMaxTokens);
  reader.flag("return-tokens-as-token-ids", out.tokens_as_ids);
  reader.flag("enable-force-include-usage", out.force_include_usage);
  reader.integer("stream-interval", out.stream_interval, 1, kMaxTokens);
  return reader.status();
}

Status read_server(const ParsedFlags& flags, const Environment& environment, ServeOptions& out) {
  FlagReader reader(flags);
  reader.text("host", out.host);
  reader.integer("port", out.port, 0, 65535);
  reader.text("uds", out.uds);
  out.api_keys = environment.api_keys;
  reader.texts("api-key", out.api_keys);  // as in vLLM, the flag takes the variable's place
  reader.text("root-path", out.root_path);
  reader.text("ssl-keyfile", out.ssl_keyfile);
  reader.text("ssl-certfile", out.ssl_certfile);
  if (out.ssl_keyfile.empty() != out.ssl_certfile.empty()) {
    return invalid("ssl-certfile", "--ssl-keyfile and --ssl-certfile go together");
  }
  reader.text("ssl-ciphers", out.ssl_ciphers);
  reader.text("ssl-ca-certs", out.ssl_ca_certs);
  reader.integer("ssl-cert-reqs", out.ssl_cert_reqs, 0, 2);
  if (out.ssl_cert_reqs > 0 && out.ssl_ca_certs.empty()) {
    return invalid("ssl-cert-reqs", "--ssl-cert-reqs {} needs --ssl-ca-certs to check against",
                   out.ssl_cert_reqs);
  }
  if (out.ssl_certfile.empty() && !(out.ssl_ca_certs.empty() && out.ssl_ciphers.empty())) {
    return invalid("ssl-certfile", "the other --ssl flags need --ssl-keyfile and --ssl-certfile");
  }
  reader.texts("allowed-origins", out.allowed_origins);
  reader.texts("allowed-methods", out.allowed_methods);
  reader.texts("allowed-headers", out.allowed_headers);
  reader.flag("allow-credentials", out.allow_credentials);
  reader.flag("enable-request-id-headers", out.request_id_headers);
  reader.integer("shutdown-timeout", out.shutdown_timeout_s, 0, 86400);
  reader.flag("enable-log-requests", out.log_requests);
  bool no_stats = false;
  reader.flag("disable-log-stats", no_stats);
  out.log_stats = !no_stats;
  if (const std::string& text = environment.stats_interval; !text.empty()) {
    const auto seconds = json::parse(text);
    const double value = seconds && seconds->is_number() ? seconds->as_double() : 0;
    if (!(value >= 0.1 && value <= 86400)) {
      return invalid("VLLM_LOG_STATS_INTERVAL",
                     "VLLM_LOG_STATS_INTERVAL must be 0.1 to 86400 seconds, got '{}'", text);
    }
    out.stats_interval_s = value;
  }
  constexpr LogLevel kLevels[] = {LogLevel::kDebug,   LogLevel::kDebug, LogLevel::kInfo,
                                  LogLevel::kWarning, LogLevel::kError, LogLevel::kError};
  for (const char* name : {"uvicorn-log-level", "log-level"}) {
    const int level =
        reader.choice(name, {"trace", "debug", "info", "warning", "error", "critical"});
    if (level >= 0) out.log_level = kLevels[level];
  }
  return reader.status();
}

}  // namespace

Result<ParsedFlags> parse_serve_flags(std::span<const std::string> arguments) {
  const Command& command = serve_command();
  M2_ASSIGN(ParsedFlags flags, parse_flags(command, arguments));
  if (flags.help) return flags;
  if (const json::Value* path = flags.find("config")) {
    M2_ASSIGN(ParsedFlags defaults, read_config_file(command, path->as_string()));
    merge_defaults(flags, std::move(defaults));
  }
  M2_TRY(check_effects(command, flags));
  return flags;
}

Result<ServeOptions> make_serve_options(ParsedFlags flags, const Environment& environment) {
  ServeOptions out;
  M2_TRY(read_model(flags, out));
  M2_TRY(read_engine(flags, out));
  M2_TRY(read_replies(flags, out));
  M2_TRY(read_server(flags, environment, out));
  if (out.served_names.empty()) out.served_names.push_back(out.model);
  for (std::string& warning : flags.warnings) out.warnings.push_back(std::move(warning));
  out.notes = std::move(flags.notes);
  if (!environment.ignored.empty()) {
    std::string names;
    for (const std::string& name : environment.ignored) names += (names.empty() ? "" : ", ") + name;
    out.warnings.push_back("environment variables of vLLM that m2 does not read: " + names);
  }
  return out;
}

}  // namespace m2::cli
