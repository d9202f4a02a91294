// The flags of vLLM that m2 takes without effect or refuses, by their reason.
#include <initializer_list>

#include "cli/serve_flags.h"

namespace m2::cli {
namespace {

using enum FlagKind;

struct Entry {
  std::string_view name;
  FlagKind kind;
  std::string_view neutral{};
};

class Table {
 public:
  void none(std::string_view reason, std::initializer_list<Entry> entries) {
    add(FlagEffect::kNone, reason, entries);
  }
  void needless(std::string_view reason, std::initializer_list<Entry> entries) {
    add(FlagEffect::kNeedless, reason, entries);
  }
  void refused(std::string_view reason, std::initializer_list<Entry> entries) {
    add(FlagEffect::kRefused, reason, entries);
  }
  std::vector<Flag> flags;

 private:
  void add(FlagEffect effect, std::string_view reason, std::initializer_list<Entry> entries) {
    for (const Entry& entry : entries) {
      flags.push_back({entry.name, entry.kind, effect, "", reason, entry.neutral});
    }
  }
};

void add_without_effect(Table& table) {
  table.needless("m2 holds the model's code itself", {{"trust-remote-code", kSwitch}});
  table.none("m2 holds the model's code itself and runs no other",
             {{"code-revision", kText},
              {"config-format", kText},
              {"model-impl", kText},
              {"tokenizer-mode", kText},
              {"tokenizer-revision", kText},
              {"skip-tokenizer-init", kSwitch},
              {"disable-sliding-window", kSwitch},
              {"disable-cascade-attn", kSwitch},
              {"disable-hybrid-kv-cache-manager", kSwitch},
              {"mamba-config", kJson},
              {"mamba-cache-dtype", kText},
              {"mamba-ssm-cache-dtype", kText},
              {"mamba-block-size", kInt},
              {"mamba-cache-mode", kText},
              {"mamba-backend", kText},
              {"mamba-ssu-algorithm", kText},
              {"enable-mamba-cache-stochastic-rounding", kSwitch},
              {"mamba-cache-philox-rounds", kInt},
              {"replayssm-buffer-len", kInt},
              {"use-replayssm", kSwitch},
              {"gdn-prefill-backend", kText},
              {"kda-prefill-backend", kText},
              {"kv-sharing-fast-prefill", kSwitch},
              {"rope-scaling", kJson},
              {"task", kText}});
  table.none("each backend computes in the one precision that it is tested in",
             {{"dtype", kText},
              {"use-fp64-gumbel", kSwitch},
              {"enable-bf16x3-router-gemm", kSwitch},
              {"kv-cache-dtype-skip-layers", kList}});
  table.none("the models read text only", {{"limit-mm-per-prompt", kJson},
                                           {"enable-mm-embeds", kSwitch},
                                           {"language-model-only", kSwitch},
                                           {"interleave-mm-strings", kSwitch},
                                           {"media-io-kwargs", kJson},
                                           {"mm-processor-kwargs", kJson},
                                           {"mm-processor-cache-gb", kFloat},
                                           {"mm-processor-cache-type", kText},
                                           {"mm-hasher-algorithm", kText},
                                           {"mm-shm-cache-max-object-size-mb", kInt},
                                           {"mm-encoder-only", kSwitch},
                                           {"mm-encoder-tp-mode", kText},
                                           {"mm-encoder-attn-backend", kText},
                                           {"mm-encoder-attn-dtype", kText},
                                           {"mm-encoder-fp8-scale-path", kText},
                                           {"mm-encoder-fp8-scale-save-path", kText},
                                           {"mm-encoder-fp8-scale-save-margin", kFloat},
                                           {"mm-tensor-ipc", kText},
                                           {"mm-processor-device", kText},
                                           {"mm-ipc-gpu-memory-gb", kFloat},
                                           {"mm-device-do-normalize", kSwitch},
                                           {"skip-mm-profiling", kSwitch},
                                           {"disable-chunked-mm-input", kSwitch},
                                           {"video-pruning-rate", kFloat},
                                           {"video-pruning-method", kText},
                                           {"enable-mm-processor-stats", kSwitch},
                                           {"allowed-local-media-path", kText},
                                           {"allowed-media-domains", kList},
                                           {"ec-manager-config", kJson},
                                           {"cohere-is-reasoning-model", kSwitch},
                                           {"cohere-format", kText}});
  table.none("nothing is compiled or tuned at start-up", {{"performance-mode", kText},
                                                          {"max-seq-len-to-capture", kInt},
                                                          {"kernel-config", kJson},
                                                          {"ir-op-priority", kJson},
                                                          {"attention-config", kJson},
                                                          {"attention-backend", kText},
                                                          {"moe-backend", kText},
                                                          {"linear-backend", kText},
                                                          {"enable-flashinfer-autotune", kSwitch},
                                                          {"jit-monitor-mode", kText},
                                                          {"jit-monitor-verbose", kSwitch},
                                                          {"additional-config", kJson}});
  table.none("m2 maps the weights and reads them in parallel already",
             {{"safetensors-load-strategy", kText},
              {"safetensors-prefetch-num-threads", kInt},
              {"safetensors-prefetch-block-size", kInt},
              {"max-parallel-loading-workers", kInt},
              {"model-loader-extra-config", kJson},
              {"ignore-patterns", kList},
              {"use-tqdm-on-load", kSwitch},
              {"pt-load-map-location", kText}});
  table.none("ranks are threads of one process, placed by m2",
             {{"distributed-executor-backend", kText},
              {"distributed-timeout-seconds", kInt},
              {"cpu-distributed-timeout-seconds", kInt},
              {"disable-custom-all-reduce", kSwitch},
              {"all2all-backend", kText},
              {"enable-ep-weight-filter", kSwitch},
              {"expert-placement-strategy", kText},
              {"eplb-config", kJson},
              {"ubatch-size", kInt},
              {"dbo-decode-token-threshold", kInt},
              {"dbo-prefill-token-threshold", kInt},
              {"disable-nccl-for-dp-synchronization", kSwitch},
              {"numa-bind", kSwitch},
              {"numa-bind-nodes", kList},
              {"numa-bind-cpus", kList},
              {"master-addr", kText},
              {"master-port", kInt},
              {"dcp-comm-backend", kText},
              {"dcp-q-replicate", kSwitch},
              {"dcp-kv-cache-interleave-size", kInt},
              {"cp-kv-cache-interleave-size", kInt},
              {"data-parallel-address", kText},
              {"data-parallel-rpc-port", kInt},
              {"data-parallel-backend", kText},
              {"data-parallel-supervisor-port", kInt},
              {"dp-supervisor-probe-interval-s", kFloat},
              {"dp-supervisor-probe-timeout-s", kFloat},
              {"dp-supervisor-probe-failure-threshold", kInt},
              {"ray-workers-use-nsight", kSwitch},
              {"worker-use-ray", kSwitch},
              {"renderer-num-workers", kInt},
              {"api-server-count", kInt},
              {"-api-process-count", kInt},
              {"-api-process-rank", kInt},
              {"disable-frontend-multiprocessing", kSwitch}});
  table.none("the engine schedules, caches and preempts in one way, its own",
             {{"async-scheduling", kSwitch},
              {"max-num-scheduled-tokens", kInt},
              {"scheduler-reserve-full-isl", kSwitch},
              {"prefill-schedule-interval", kInt},
              {"watermark", kFloat},
              {"prefix-caching-hash-algo", kText},
              {"prefix-cache-retention-interval", kInt},
              {"prefix-match-unit", kInt},
              {"num-scheduler-steps", kInt},
              {"preemption-mode", kText},
              {"swap-space", kFloat},
              {"use-v2-block-manager", kSwitch},
              {"disable-async-output-proc", kSwitch}});
  table.none("requests for structured output are refused, whatever is set here",
             {{"structured-outputs-config", kJson}, {"guided-decoding-backend", kText}});
  table.none("thoughts are told from replies by the model's own tokens; see --reasoning-parser",
             {{"reasoning-config", kJson}, {"enable-reasoning", kSwitch}});
  table.none("m2 has its own log and metrics", {{"aggregate-engine-logging", kSwitch},
                                                {"show-hidden-metrics-for-version", kText},
                                                {"kv-cache-metrics", kSwitch},
                                                {"kv-cache-metrics-sample", kFloat},
                                                {"cudagraph-metrics", kSwitch},
                                                {"enable-mfu-metrics", kSwitch},
                                                {"enable-per-request-metrics", kSwitch},
                                                {"enable-layerwise-nvtx-tracing", kSwitch},
                                                {"enable-logging-iteration-details", kSwitch},
                                                {"per-request-spec-decode-metrics", kText},
                                                {"collect-detailed-traces", kList},
                                                {"enable-server-load-tracking", kSwitch},
                                                {"disable-log-requests", kSwitch},
                                                {"disable-uvicorn-access-log", kSwitch},
                                                {"disable-access-log-for-endpoints", kText},
                                                {"log-config-file", kText},
                                                {"log-error-stack", kSwitch},
                                                {"max-log-len", kInt},
                                                {"enable-log-deltas", kSwitch},
                                                {"fail-on-environ-validation", kSwitch}});
  table.none("m2's own HTTP server has its own limits",
             {{"h11-max-incomplete-event-size", kInt},
              {"h11-max-header-count", kInt},
              {"disable-fastapi-docs", kSwitch},
              {"enable-offline-docs", kSwitch},
              {"enable-flash-late-interaction", kSwitch},
              {"chat-template-content-format", kText},
              {"fingerprint-mode", kText},
              {"fingerprint-value", kText},
              {"enable-tokenizer-info-endpoint", kSwitch}});
  table.none("certificates are read at start: start again to renew them",
             {{"enable-ssl-refresh", kSwitch}});
  table.needless("usage always tells cached tokens", {{"enable-prompt-tokens-details", kSwitch}});
  table.none("there is no LoRA, so nothing to size", {{"max-loras", kInt},
                                                      {"max-lora-rank", kInt},
                                                      {"max-cpu-loras", kInt},
                                                      {"lora-dtype", kText},
                                                      {"fully-sharded-loras", kSwitch},
                                                      {"lora-target-modules", kList},
                                                      {"specialize-active-lora", kSwitch},
                                                      {"enable-mixed-moe-lora-format", kSwitch},
                                                      {"enable-moe-shared-loras", kSwitch},
                                                      {"enable-tower-connector-lora", kSwitch}});
  table.none("there is no offloading, so nothing to set", {{"offload-backend", kText},
                                                           {"cpu-offload-params", kList},
                                                           {"offload-group-size", kInt},
                                                           {"offload-num-in-group", kInt},
                                                           {"offload-prefetch-step", kInt},
                                                           {"offload-params", kList},
                                                           {"kv-offloading-backend", kText}});
}

void add_refused(Table& table) {
  table.refused("m2 serves generation by the MiniMax-M2 family only",
                {{"runner", kText, "auto|generate"},
                 {"convert", kText, "auto|none"},
                 {"pooler-config", kJson},
                 {"diffusion-config", kJson},
                 {"model-class-overrides", kJson, "{}"},
                 {"hf-config-path", kText},
                 {"model-weights", kText},
                 {"enable-prompt-embeds", kSwitch},
                 {"enable-return-routed-experts", kSwitch},
                 {"return-sampling-mask", kSwitch},
                 {"enable-trace-replay", kSwitch},
                 {"tokens-only", kSwitch},
                 {"grpc", kSwitch}});
  table.refused("weights are FP8 in blocks of 128x128, or bf16",
                {{"quantization", kText, "fp8|none|auto"},
                 {"quantization-config", kJson},
                 {"allow-deprecated-quantization", kSwitch}});
  table.refused("logprobs are those of the raw logits", {{"logprobs-mode", kText, "raw_logprobs"}});
  table.refused("m2 runs no Python", {{"worker-cls", kText, "auto"},
                                      {"worker-extension-cls", kText},
                                      {"scheduler-cls", kText},
                                      {"logits-processors", kList},
                                      {"io-processor-plugin", kText},
                                      {"reasoning-parser-plugin", kText},
                                      {"tool-parser-plugin", kText},
                                      {"middleware", kAppend}});
  table.refused("LoRA is not implemented",
                {{"enable-lora", kSwitch}, {"lora-modules", kList}, {"default-mm-loras", kJson}});
  table.refused("speculative decoding is not implemented", {{"speculative-config", kJson},
                                                            {"spec-method", kText},
                                                            {"spec-model", kText},
                                                            {"spec-tokens", kInt, "0"}});
  table.refused("moving KV blocks out of this process is not implemented",
                {{"kv-transfer-config", kJson},
                 {"kv-events-config", kJson},
                 {"ec-transfer-config", kJson},
                 {"weight-transfer-config", kJson},
                 {"kv-offloading-size", kFloat, "0"},
                 {"cpu-offload-gb", kFloat, "0|0.0"},
                 {"enable-sleep-mode", kSwitch},
                 {"enable-cumem-allocator", kSwitch}});
  table.refused("ranks are split by tensor and expert parallelism only; see --tensor-parallel-size",
                {{"pipeline-parallel-size", kInt, "1"},
                 {"prefill-context-parallel-size", kInt, "1"},
                 {"decode-context-parallel-size", kInt, "1"},
                 {"enable-eplb", kSwitch},
                 {"enable-elastic-ep", kSwitch},
                 {"enable-dbo", kSwitch},
                 {"fault-tolerance-config", kJson},
                 {"enable-fault-tolerance", kSwitch}});
  table.refused(
      "replicas over several machines are processes behind a gateway: start one m2 for "
      "each; --data-parallel-size makes replicas in one process",
      {{"data-parallel-rank", kInt},
       {"data-parallel-start-rank", kInt},
       {"data-parallel-size-local", kInt, "1"},
       {"data-parallel-hybrid-lb", kSwitch},
       {"data-parallel-external-lb", kSwitch},
       {"data-parallel-multi-port-external-lb", kSwitch}});
  table.refused("serving across several nodes is not implemented",
                {{"nnodes", kInt, "1"}, {"node-rank", kInt, "0"}, {"headless", kSwitch}});
  table.refused("choose devices with CUDA_VISIBLE_DEVICES", {{"device-ids", kList}});
  table.refused("traces and profiles are not implemented",
                {{"otlp-traces-endpoint", kText}, {"profiler-config", kJson}});
  table.refused("the server keeps no prompts or replies: log them where they are sent from",
                {{"enable-log-outputs", kSwitch}});
  table.refused("a template from a request is code from a stranger",
                {{"trust-request-chat-template", kSwitch}});
  table.refused("tool servers are not implemented", {{"tool-server", kText}});
}

}  // namespace

std::vector<Flag> serve_other_flags() {
  Table table;
  add_without_effect(table);
  add_refused(table);
  return std::move(table.flags);
}

}  // namespace m2::cli
