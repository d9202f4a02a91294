// The flags of `m2 serve` that do something, with their help.
#include "cli/serve_flags.h"

namespace m2::cli {
namespace {

using enum FlagKind;

constexpr Alias kAliases[] = {
    {"tp", "tensor-parallel-size"},
    {"pp", "pipeline-parallel-size"},
    {"dp", "data-parallel-size"},
    {"dpn", "data-parallel-rank"},
    {"dpr", "data-parallel-start-rank"},
    {"dpl", "data-parallel-size-local"},
    {"dpa", "data-parallel-address"},
    {"dpp", "data-parallel-rpc-port"},
    {"dpb", "data-parallel-backend"},
    {"ep", "enable-expert-parallel"},
    {"pcp", "prefill-context-parallel-size"},
    {"dcp", "decode-context-parallel-size"},
    {"asc", "api-server-count"},
    {"cc", "compilation-config"},
    {"sc", "speculative-config"},
    {"ac", "attention-config"},
    {"O", "optimization-level"},
    {"q", "quantization"},
    {"n", "nnodes"},
    {"r", "node-rank"},
};

constexpr std::string_view kModel = "Model", kParallel = "Device and parallelism",
                           kMemory = "Memory and scheduling", kGraphs = "CUDA graphs",
                           kReplies = "Replies", kServer = "Server", kOther = "Log and other";

constexpr Flag used(std::string_view group, std::string_view name, FlagKind kind,
                    std::string_view help) {
  return {name, kind, FlagEffect::kUsed, group, help};
}

std::vector<Flag> model_flags() {
  return {
      used(kModel, "model", kText, "the model; better given as the positional argument"),
      used(kModel, "served-model-name", kList,
           "names that requests may use; the first is reported"),
      used(kModel, "tokenizer", kText, "folder or file of tokenizer.json, if not the model's"),
      used(kModel, "revision", kText, "branch, tag or commit of a repository id (main)"),
      used(kModel, "download-dir", kText, "Hugging Face cache, if not the usual one (HF_HOME)"),
      used(kModel, "hf-token", kOptionalText, "token of the hub (HF_TOKEN, or the stored one)"),
      used(kModel, "load-format", kText, "auto, safetensors, or dummy: seeded random weights"),
      used(kModel, "seed", kInt,
           "seed of dummy weights (0), and of draws whose requests bring none (random)"),
      used(kModel, "hf-overrides", kJson, "values over those of config.json"),
      used(kModel, "max-model-len", kIntOrAuto,
           "most tokens of prompt and reply together (auto: what memory holds)"),
      used(kModel, "generation-config", kText,
           "sampling defaults: auto (the model's), vllm (none), or a folder"),
      used(kModel, "override-generation-config", kJson, "sampling defaults, over the model's"),
  };
}

std::vector<Flag> engine_flags() {
  return {
      used(kParallel, "device", kText, "auto (a GPU where there is one), cpu or cuda"),
      used(kParallel, "threads", kInt, "worker threads of the CPU backend (one a core)"),
      used(kParallel, "tensor-parallel-size", kInt, "ranks that share the model: 1, 2, 4 or 8 (1)"),
      used(kParallel, "data-parallel-size", kInt,
           "whole replicas of the model, of that many ranks (1)"),
      used(kParallel, "enable-expert-parallel", kSwitch, "place whole experts on ranks"),

      used(kMemory, "gpu-memory-utilization", kFloat,
           "most of a GPU's memory to take, as a share; without it all that is free but 1.5 %"),
      used(kMemory, "kv-cache-memory-bytes", kInt, "memory of the KV cache, instead of a share"),
      used(kMemory, "num-gpu-blocks-override", kInt, "KV blocks, instead of memory"),
      used(kMemory, "block-size", kInt, "tokens a KV block (16)"),
      used(kMemory, "kv-cache-dtype", kText,
           "auto (what the backend computes in), float32, bfloat16, or fp8 (= fp8_e4m3)"),
      used(kMemory, "enable-prefix-caching", kSwitch, "reuse the KV of equal prefixes (on)"),
      used(kMemory, "max-num-seqs", kInt, "sequences that run at once"),
      used(kMemory, "max-num-batched-tokens", kInt, "tokens a step"),
      used(kMemory, "enable-chunked-prefill", kSwitch, "cut long prompts into steps (on)"),
      used(kMemory, "long-prefill-token-threshold", kInt,
           "most prompt tokens of one request a step"),
      used(kMemory, "scheduling-policy", kText, "fcfs or priority (fcfs)"),
      used(kMemory, "share-by-key", kSwitch, "waiting requests of each API key take turns (on)"),
      used(kMemory, "max-waiting", kInt, "requests that may wait before 503 (1024)"),
      used(kMemory, "step-timeout", kFloat, "seconds after which a step is a fault (300)"),

      used(kGraphs, "compilation-config", kJson,
           "cudagraph_mode: NONE, PIECEWISE, FULL, FULL_DECODE_ONLY or FULL_AND_PIECEWISE; "
           "cudagraph_capture_sizes, max_cudagraph_capture_size"),
      used(kGraphs, "optimization-level", kText,
           "-O0: no graphs; -O1: by pieces; -O2, -O3: the fastest (which is the default)"),
      used(kGraphs, "enforce-eager", kSwitch, "no graphs"),
      used(kGraphs, "cudagraph-capture-sizes", kList, "tokens of the steps that are recorded"),
      used(kGraphs, "max-cudagraph-capture-size", kInt, "the largest of the usual sizes (512)"),
      used(kGraphs, "cuda-graph-sizes", kList, "an older name of --cudagraph-capture-sizes"),
  };
}

std::vector<Flag> reply_flags() {
  return {
      used(kReplies, "reasoning-parser", kText,
           "minimax_m2: thoughts apart from the answer; minimax_m2_append_think: both as "
           "content (minimax_m2)"),
      used(kReplies, "tool-call-parser", kText,
           "minimax_m2; calls are split off wherever a request has tools"),
      used(kReplies, "enable-auto-tool-choice", kSwitch,
           "always on: the model calls tools wherever a request has some"),
      used(kReplies, "exclude-tools-when-tool-choice-none", kSwitch,
           "leave tools out of the prompt under tool_choice none"),
      used(kReplies, "chat-template", kText, "file of a Jinja template, if not the model's"),
      used(kReplies, "default-chat-template-kwargs", kJson, "variables for every template"),
      used(kReplies, "parse-special-in-text", kSwitch,
           "client text that spells a control token becomes it, as in vLLM (off)"),
      used(kReplies, "response-role", kText, "role of replies (assistant)"),
      used(kReplies, "max-logprobs", kInt, "most logprobs a token (20; -1: all)"),
      used(kReplies, "return-tokens-as-token-ids", kSwitch, "logprobs name tokens as token_id:N"),
      used(kReplies, "enable-force-include-usage", kSwitch, "every stream ends with its usage"),
      used(kReplies, "stream-interval", kInt, "tokens a streamed piece (1)"),
  };
}

std::vector<Flag> server_flags() {
  return {
      used(kServer, "host", kText, "address to listen on (all interfaces)"),
      used(kServer, "port", kInt, "port to listen on (8000; 0: any free one)"),
      used(kServer, "uds", kText, "path of a unix socket, instead of host and port"),
      used(kServer, "api-key", kAppend, "keys that requests must bring, one of"),
      used(kServer, "root-path", kText, "path prefix that a proxy puts before every route"),
      used(kServer, "ssl-keyfile", kText, "TLS private key, PEM"),
      used(kServer, "ssl-certfile", kText, "TLS certificate chain, PEM"),
      used(kServer, "ssl-ca-certs", kText,
           "certificates of clients are checked against these, PEM"),
      used(kServer, "ssl-cert-reqs", kInt,
           "certificates of clients: 0 none, 1 checked if sent, 2 required (0)"),
      used(kServer, "ssl-ciphers", kText, "OpenSSL's list of ciphers for TLS 1.2"),
      used(kServer, "allowed-origins", kJson, "CORS: origins (all)"),
      used(kServer, "allowed-methods", kJson, "CORS: methods (all)"),
      used(kServer, "allowed-headers", kJson, "CORS: headers (all)"),
      used(kServer, "allow-credentials", kSwitch, "CORS: credentials"),
      used(kServer, "enable-request-id-headers", kSwitch, "answer with X-Request-Id"),
      used(kServer, "shutdown-timeout", kInt, "seconds to finish open requests on SIGTERM (0)"),

      used(kOther, "config", kText, "YAML file with flags; the command line wins"),
      used(kOther, "enable-log-requests", kSwitch,
           "log a line a request: sizes and parameters, never text"),
      used(kOther, "disable-log-stats", kSwitch, "no statistics line every 10 s"),
      used(kOther, "uvicorn-log-level", kText, "debug, info, warning or error (info)"),
      used(kOther, "log-level", kText, "the same"),
  };
}

}  // namespace

std::vector<Flag> serve_used_flags() {
  std::vector<Flag> flags = model_flags();
  for (const auto& part : {engine_flags(), reply_flags(), server_flags()}) {
    flags.insert(flags.end(), part.begin(), part.end());
  }
  return flags;
}

const Command& serve_command() {
  static const Command command = [] {
    Command built{.name = "serve",
                  .usage = "m2 serve MODEL [flags]",
                  .summary = "serve a model over HTTP",
                  .flags = serve_used_flags(),
                  .aliases = kAliases,
                  .max_positionals = 1};
    const std::vector<Flag> other = serve_other_flags();
    built.flags.insert(built.flags.end(), other.begin(), other.end());
    return built;
  }();
  return command;
}

}  // namespace m2::cli
