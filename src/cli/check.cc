// `m2 check`: is what lies on disk the model that it says it is? Headers, hashes, tokenizer and
// template, the model's own words, each with a line; every fault is told, not the first alone.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

#include "backend/cpu/host.h"
#include "cli/check_files.h"
#include "cli/check_forward.h"
#include "cli/commands.h"
#include "cli/flag_reader.h"
#include "cli/help.h"
#include "cli/model_files.h"
#include "cli/parse_flags.h"
#include "cli/runtime_options.h"
#include "cli/serve.h"
#include "loader/hub/hub.h"
#include "model/shard.h"
#include "model/weights.h"

namespace m2::cli {
namespace {

constexpr int32_t kCheckedTokens = 4096;  // a question and its answer: the cache holds no more

constexpr Alias kAliases[] = {{"tp", "tensor-parallel-size"}, {"ep", "enable-expert-parallel"}};

const Command& check_command() {
  static const Command command = [] {
    const auto used = [](std::string_view name, FlagKind kind, std::string_view help) {
      return Flag{name, kind, FlagEffect::kUsed, "Flags", help};
    };
    return Command{"check",
                   "m2 check MODEL [flags]",
                   "tell whether a model on disk is whole and right",
                   {used("headers", FlagKind::kSwitch, "names, types and shapes of tensors alone"),
                    used("forward", FlagKind::kSwitch, "ask it two questions (on; --no-forward)"),
                    used("device", FlagKind::kText, "auto, cpu or cuda: what it is asked on"),
                    used("tensor-parallel-size", FlagKind::kInt, "ranks that it takes (1)"),
                    used("enable-expert-parallel", FlagKind::kSwitch, "whole experts a rank"),
                    used("revision", FlagKind::kText, "branch, tag or commit (main)"),
                    used("download-dir", FlagKind::kText, "Hugging Face cache, if not the usual"),
                    used("hf-overrides", FlagKind::kJson, "values over those of config.json")},
                   kAliases,
                   1};
  }();
  return command;
}

struct CheckOptions {
  ModelSource source;
  bool headers_alone = false, forward = true;
  ServeOptions serve;
};

Result<CheckOptions> read_options(const ParsedFlags& flags) {
  CheckOptions out;
  FlagReader reader(flags);
  reader.text("revision", out.source.revision);
  reader.text("download-dir", out.source.download_dir);
  reader.object("hf-overrides", out.serve.hf_overrides);
  reader.flag("headers", out.headers_alone);
  reader.flag("forward", out.forward);
  reader.integer("tensor-parallel-size", out.serve.tensor_parallel, 1, 64);
  reader.flag("enable-expert-parallel", out.serve.expert_parallel);
  if (reader.choice("device", {"auto", "cpu", "cuda"}) >= 0) {
    reader.text("device", out.serve.device);
  }
  M2_TRY(reader.status());
  if (flags.positionals.empty()) return invalid("model", "which model? m2 check MODEL");
  out.source.model = flags.positionals[0];
  return out;
}

Result<ModelFiles> check_text(const ServeOptions& options, Findings& findings) {
  auto files = open_model(options);
  if (!files) {
    findings.wrong("text", files.error().message);
    return files;
  }
  findings.right("text", fmt::format("tokenizer of {} ids, {}", files->tokenizer->vocab_size(),
                                     files->chat_template ? "chat template" : "no chat template"));
  return files;
}

// A machine that is too small is no fault of the files.
bool too_small(const Error& error) {
  return (error.kind == ErrorKind::kUnavailable && error.field != "device") ||
         error.field == "max-model-len";  // the KV cache does not hold kCheckedTokens
}

// The same text on other kernels: those of the CPU after a GPU, else the plain ones. What differs
// is rounding; what is more than that is a fault of one of the two, or of the machine.
void check_agreement(ServeOptions options, const ModelFiles& files, std::string_view backend,
                     const std::vector<float>& logprobs, Findings& findings) {
  constexpr size_t kMostBytes = size_t{16} << 30;  // of weights, which are loaded once more
  // docs/numerics.md: fp32 in another order, or bf16 against fp32.
  const bool gpu = backend != "cpu";
  const float most = gpu ? 0.5f : 1e-3f;
  const auto shard = make_shard(files.config, {}, 0);
  const size_t bytes = shard ? weights_bytes(files.config, *shard) : kMostBytes + 1;
  if (bytes > std::min(kMostBytes, free_memory_bytes() / 2)) {
    return findings.note("agreement", "not asked: the weights are too many for a second copy");
  }
  options.device = "cpu";
  options.plain_kernels = !gpu;
  options.tensor_parallel = 1;
  options.expert_parallel = false;
  StartState state;
  const auto loaded = load_runtime(options, files, state);
  if (!loaded && too_small(loaded.error())) {
    return findings.note("agreement", "not asked: " + loaded.error().message);
  }
  if (!loaded) return findings.wrong("agreement", loaded.error().message);
  const auto others = question_logprobs(*loaded->executors.front(), files);
  if (!others) return findings.wrong("agreement", others.error().message);
  const float largest = largest_difference(logprobs, *others);
  const std::string text =
      fmt::format("{}: {} logprobs differ by {:.2g} at most, {} is rounding",
                  gpu ? "GPU and CPU" : "fast and plain kernels", logprobs.size(), largest, most);
  if (largest <= most) {
    findings.right("agreement", text);
  } else {
    findings.wrong("agreement", text);
  }
}

// What plans alone refuse is the machine or a flag, and no fault of the files. Said before anything
// is read: hashes of a big model take minutes. What is too small is said where the model is asked.
Status check_device(const ServeOptions& options, const ModelConfig& config) {
  const auto plan = plan_runtime(config, runtime_options(options));
  if (!plan && !too_small(plan.error())) return tl::unexpected(plan.error());
  return {};
}

// Loads the model and asks it: files may be whole and of the right shape, and still say nonsense.
void ask(const ServeOptions& options, const ModelFiles& files, Findings& findings) {
  StartState state;
  const auto loaded = load_runtime(options, files, state);
  if (!loaded && too_small(loaded.error())) {
    return findings.note("forward", "not asked: " + loaded.error().message +
                                        "; --tensor-parallel-size N spreads it over N devices");
  }
  if (!loaded) return findings.wrong("forward", loaded.error().message);
  const auto outcome = check_forward(*loaded->executors.front(), files);
  if (!outcome) return findings.wrong("forward", outcome.error().message);
  for (const ForwardCheck::Answer& answer : outcome->answers) {
    if (answer.right) {
      findings.right("forward", fmt::format("\"{}\": {}", answer.question, answer.expected));
    } else {
      findings.wrong("forward", fmt::format("\"{}\": no \"{}\" in the answer, which begins: {}",
                                            answer.question, answer.expected,
                                            json::dump(answer.reply.substr(0, 200))));
    }
  }
  const std::string text = fmt::format("perplexity {:.3f} of the questions, under {:.0f} wanted",
                                       outcome->perplexity, outcome->bound);
  if (outcome->perplexity < outcome->bound) {
    findings.right("forward", text);
  } else {
    findings.wrong("forward", text + ": the output is garbled");
  }
  check_agreement(options, files, loaded->backend, outcome->logprobs, findings);
}

}  // namespace

int run_check(Arguments arguments) {
  const auto report = [](const Error& error, int status) {
    fmt::print(stderr, "m2 check: {}\n", error.message);
    return status;
  };
  const auto flags = parse_flags(check_command(), arguments);
  if (!flags) return report(flags.error(), kExitUsage);
  if (flags->help) return print_help(check_command(), flags->help_topic);
  auto options = read_options(*flags);
  if (!options) return report(options.error(), kExitUsage);
  const auto folder = find_model(options->source, read_hub_environment());
  if (!folder) return report(folder.error(), kExitFailure);
  const auto config = load_config(*folder, options->serve.hf_overrides);
  if (!config) return report(config.error(), kExitFailure);
  const Parallelism ranks{options->serve.tensor_parallel, options->serve.expert_parallel};
  if (const auto shard = make_shard(*config, ranks, 0); !shard && ranks.tensor_parallel != 1) {
    return report(shard.error(), kExitUsage);
  }
  ServeOptions& serve = options->serve;
  serve.model = *folder;
  serve.max_sequences = 1;
  serve.max_model_tokens = std::min(kCheckedTokens, config->max_position_embeddings);
  const bool asks = options->forward && !options->headers_alone;
  if (asks) {
    const Status device = check_device(serve, *config);
    if (!device) return report(device.error(), kExitFailure);
  }

  Findings findings;
  findings.right("config", describe(*config));
  check_headers(*folder, *config, findings);
  if (!options->headers_alone) {
    // What has its hash needs no evidence.
    if (!check_hashes(*folder, findings)) check_block_scales(*folder, findings);
    check_published(*folder, "tokenizer.json", findings);
    check_published(*folder, "chat_template.jinja", findings);
    const auto files = check_text(serve, findings);
    // Weights that are known to be wrong are not asked.
    if (files && asks && findings.faults() == 0) ask(serve, *files, findings);
  }
  if (findings.faults() == 0) return kExitOk;
  fmt::print("{}: {} fault{}\n", *folder, findings.faults(), findings.faults() == 1 ? "" : "s");
  return kExitFailure;
}

}  // namespace m2::cli
