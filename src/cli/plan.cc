// `m2 plan`: what a model will take of which GPUs, and what it leaves for the context, before any
// weight is there. The same plan_memory() decides at `m2 serve`.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/divide_up.h"
#include "cli/commands.h"
#include "cli/flag_reader.h"
#include "cli/gpu_plan.h"
#include "cli/help.h"
#include "cli/known_models.h"
#include "cli/obtain_model.h"
#include "cli/runtime_options.h"
#include "cli/serve_flags.h"
#include "cli/serve_options.h"

namespace m2::cli {
namespace {

constexpr std::string_view kOwn = "Plan";
constexpr int32_t kLengths[] = {4096, 16384, 32768, 65536, 131072};

// The flags of `m2 serve`, so that a command line can be tried by changing one word, and our own.
const Command& plan_command() {
  static const Command command = [] {
    Command built = serve_command();
    built.name = "plan";
    built.usage = "m2 plan MODEL [--gpu KIND] [flags of m2 serve]";
    built.summary = "tell what a model takes of GPUs and leaves for the context";
    const auto own = [](std::string_view name, FlagKind kind, std::string_view help) {
      return Flag{name, kind, FlagEffect::kUsed, kOwn, help};
    };
    const std::vector<Flag> flags = {
        own("gpu", FlagKind::kText, "h20-96, h20-141, h100, h200 or a100-80 (h200)"),
        own("gpu-memory-gib", FlagKind::kFloat, "memory of another GPU"),
        own("json", FlagKind::kSwitch, "as JSON")};
    built.flags.insert(built.flags.begin(), flags.begin(), flags.end());
    return built;
  }();
  return command;
}

struct PlanOptions {
  ServeOptions serve;
  std::string gpu = "h200";
  size_t gpu_bytes = 0;
  bool json = false;
};

Result<PlanOptions> read_options(ParsedFlags flags) {
  PlanOptions out;
  FlagReader reader(flags);
  reader.text("gpu", out.gpu);
  double gib = 0;
  reader.number("gpu-memory-gib", gib, 1, 4096);
  reader.flag("json", out.json);
  M2_TRY(reader.status());
  if (gib > 0) {
    out.gpu = fmt::format("{} GiB", gib);
    out.gpu_bytes = static_cast<size_t>(gib * 1073741824.0);
  } else {
    M2_ASSIGN(const GpuKind kind, find_gpu(out.gpu));
    out.gpu = kind.title;
    out.gpu_bytes = kind.mib << 20;
  }
  if (flags.positionals.empty() && flags.find("model") == nullptr &&
      flags.find("config") == nullptr) {
    return invalid("model", "which model? m2 plan MODEL");
  }
  M2_ASSIGN(out.serve, make_serve_options(std::move(flags), Environment{}));
  return out;
}

// From the folder or the cache; of a published name, else, without asking anybody.
Result<ModelConfig> read_config(const ServeOptions& options) {
  const ModelSource source{options.model, options.revision, options.download_dir};
  const HubEnvironment environment = read_hub_environment();
  const auto found = find_model(source, environment);
  if (found) return load_config(*found, options.hf_overrides);
  if (options.hf_overrides.empty()) {
    if (const auto known = known_config(options.model)) return *known;
  }
  M2_ASSIGN(const ObtainedModel model, obtain_model({.source = source,
                                                     .hf_token = options.hf_token,
                                                     .hf_overrides = options.hf_overrides,
                                                     .weights = false}));
  return load_config(model.folder, options.hf_overrides);
}

int64_t sequences_of(const MemoryPlan& plan, int32_t tokens) {
  const int64_t blocks = divide_up(tokens, plan.limits.block_tokens);
  return std::min<int64_t>(plan.limits.max_sequences, plan.limits.num_blocks / blocks);
}

std::vector<int32_t> lengths_of(const MemoryPlan& plan) {
  std::vector<int32_t> lengths;
  for (const int32_t length : kLengths) {
    if (length < plan.limits.max_model_tokens) lengths.push_back(length);
  }
  lengths.push_back(plan.limits.max_model_tokens);
  return lengths;
}

// What one flag more, or another value of it, would make of the plan.
struct Change {
  std::string flag;
  Result<MemoryPlan> plan;
};

Result<MemoryPlan> plan_for(const PlanOptions& options, const ModelConfig& config) {
  RuntimeOptions runtime = runtime_options(options.serve);
  runtime.replicas = 1;  // each has GPUs of its own
  runtime.max_model_tokens = static_cast<int32_t>(options.serve.max_model_tokens.value_or(0));
  if (runtime.max_model_tokens == 0) runtime.fit_length = true;  // told, where `m2 serve` refuses
  M2_ASSIGN(const Shard shard, make_shard(config, runtime.parallelism, 0));
  const auto backend = make_planned_gpus(options.gpu_bytes, shard.size, runtime.graphs);
  return plan_memory(config, shard, runtime, *backend);
}

std::vector<Change> changes_of(const PlanOptions& options, const ModelConfig& config) {
  std::vector<Change> changes;
  const auto add = [&](std::string flag, auto change) {
    PlanOptions changed = options;
    change(changed.serve);
    changes.push_back({std::move(flag), plan_for(changed, config)});
  };
  const ServeOptions& now = options.serve;
  const bool fp8 = now.kv_dtype == DType::kF8E4M3;
  add(fp8 ? "--kv-cache-dtype auto" : "--kv-cache-dtype fp8",
      [&](auto& o) { o.kv_dtype = fp8 ? std::nullopt : std::optional(DType::kF8E4M3); });
  for (const int32_t ranks : {4, 8}) {
    if (ranks == now.tensor_parallel) continue;
    add(fmt::format("--tensor-parallel-size {}", ranks),
        [&](auto& o) { o.tensor_parallel = ranks; });
  }
  add(now.expert_parallel ? "--no-enable-expert-parallel" : "--enable-expert-parallel",
      [](auto& o) { o.expert_parallel = !o.expert_parallel; });
  for (const double share : {0.92, 0.9}) {
    if (share == now.gpu_memory_utilization) continue;
    add(fmt::format("--gpu-memory-utilization {}", share),
        [&](auto& o) { o.gpu_memory_utilization = share; });
  }
  const RuntimeOptions runtime = runtime_options(now);
  add(fmt::format("--max-num-batched-tokens {}", 4 * runtime.max_step_tokens),
      [&](auto& o) { o.max_step_tokens = 4 * runtime.max_step_tokens; });
  if (runtime.max_sequences > 1) {
    add(fmt::format("--max-num-seqs {}", (runtime.max_sequences + 3) / 4),
        [&](auto& o) { o.max_sequences = (runtime.max_sequences + 3) / 4; });
  }
  add(fmt::format("--max-model-len {}", 32768), [](auto& o) { o.max_model_tokens = 32768; });
  return changes;
}

std::string with_commas(int64_t number) {
  std::string text = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<size_t>(at), 1, ',');
  }
  return text;
}

// What one flag more would make room where there is none.
std::string advice_of(const std::vector<Change>& changes) {
  std::string advice;
  for (const Change& change : changes) {
    if (!change.plan) continue;
    advice += fmt::format("  with {}: {} KV tokens, longest sequence {}\n", change.flag,
                          with_commas(change.plan->kv_tokens()),
                          with_commas(change.plan->limits.max_model_tokens));
  }
  return advice.empty() ? "no other value of one flag makes room\n" : "what would fit:\n" + advice;
}

std::string as_json(const PlanOptions& options, const MemoryPlan& plan,
                    const std::vector<Change>& changes) {
  json::Object out;
  out.set("model", options.serve.model);
  out.set("gpu", options.gpu);
  out.set("gpus", plan.ranks);
  out.set("gpu_memory_bytes", static_cast<int64_t>(options.gpu_bytes));
  out.set("expert_parallel", options.serve.expert_parallel);
  out.set("weights_bytes_a_gpu", static_cast<int64_t>(plan.weights_bytes));
  out.set("working_bytes_a_gpu", static_cast<int64_t>(plan.working_bytes()));
  out.set("working_bytes_counted", counts_exactly());
  out.set("kv_bytes_a_gpu", static_cast<int64_t>(plan.kv_bytes));
  out.set("kv_bytes_a_token", static_cast<int64_t>(plan.kv_bytes_a_token) * plan.ranks);
  out.set("kv_dtype", dtype_name(plan.limits.kv_dtype));
  out.set("kv_tokens", plan.kv_tokens());
  out.set("max_model_tokens", plan.limits.max_model_tokens);
  out.set("length_shrunk", plan.length_shrunk);
  json::Array sequences;
  for (const int32_t length : lengths_of(plan)) {
    json::Object entry;
    entry.set("tokens", length);
    entry.set("sequences", sequences_of(plan, length));
    sequences.push_back(std::move(entry));
  }
  out.set("sequences_at", std::move(sequences));
  json::Array flags;
  for (const Change& change : changes) {
    json::Object entry;
    entry.set("flag", change.flag);
    if (change.plan) {
      entry.set("kv_tokens", change.plan->kv_tokens());
      entry.set("max_model_tokens", change.plan->limits.max_model_tokens);
      entry.set("sequences_at_longest",
                sequences_of(*change.plan, change.plan->limits.max_model_tokens));
    } else {
      entry.set("error", change.plan.error().message);
    }
    flags.push_back(std::move(entry));
  }
  out.set("flags", std::move(flags));
  return json::dump(json::Value(std::move(out)));
}

void print_table(const PlanOptions& options, const MemoryPlan& plan,
                 const std::vector<Change>& changes) {
  const auto gib = [](size_t bytes) { return static_cast<double>(bytes) / 1073741824.0; };
  fmt::print("{} on {} x {} ({:.1f} GiB each){}\n", options.serve.model, plan.ranks, options.gpu,
             gib(options.gpu_bytes),
             options.serve.expert_parallel ? ", whole experts on ranks" : "");
  fmt::print("  weights          {:8.2f} GiB a GPU\n", gib(plan.weights_bytes));
  fmt::print("  working memory   {:8.2f} GiB a GPU{}\n", gib(plan.working_bytes()),
             counts_exactly() ? "" : ", at most");
  fmt::print("  KV cache         {:8.2f} GiB a GPU, {} bytes a token in {}\n", gib(plan.kv_bytes),
             with_commas(static_cast<int64_t>(plan.kv_bytes_a_token) * plan.ranks),
             dtype_name(plan.limits.kv_dtype));
  fmt::print("  KV tokens        {:>12}\n", with_commas(plan.kv_tokens()));
  fmt::print("  longest sequence {:>12}{}\n", with_commas(plan.limits.max_model_tokens),
             !plan.length_shrunk        ? ""
             : options.serve.fit_length ? "  (less than the model's: what the KV cache holds)"
                                        : "  (less than the model's: m2 serve wants "
                                          "--max-model-len auto, or a number up to it)");
  fmt::print("  sequences at once, each of\n");
  for (const int32_t length : lengths_of(plan)) {
    fmt::print("    {:>12} tokens {:>6}\n", with_commas(length), sequences_of(plan, length));
  }
  fmt::print("  what flags change{:>29} {:>12} {}\n", "KV tokens", "longest", "of those at once");
  for (const Change& change : changes) {
    if (!change.plan) {
      fmt::print("    {:<29}  does not fit: {}\n", change.flag, change.plan.error().message);
      continue;
    }
    const int32_t longest = change.plan->limits.max_model_tokens;
    fmt::print("    {:<29} {:>12} {:>12} {:>6}\n", change.flag,
               with_commas(change.plan->kv_tokens()), with_commas(longest),
               sequences_of(*change.plan, longest));
  }
}

}  // namespace

int run_plan(Arguments arguments) {
  const auto report = [](const Error& error, int status) {
    fmt::print(stderr, "m2 plan: {}\n", error.message);
    return status;
  };
  auto flags = parse_flags(plan_command(), arguments);
  if (!flags) return report(flags.error(), kExitUsage);
  if (flags->help) return print_help(plan_command(), flags->help_topic);
  if (const Status taken = check_effects(plan_command(), *flags); !taken) {
    return report(taken.error(), kExitUsage);
  }
  const auto options = read_options(std::move(*flags));
  if (!options) return report(options.error(), kExitUsage);
  const auto config = read_config(options->serve);
  if (!config) return report(config.error(), kExitFailure);
  const auto plan = plan_for(*options, *config);
  const std::vector<Change> changes = changes_of(*options, *config);
  if (!plan) {
    const int status = report(plan.error(), kExitFailure);
    const bool memory =
        plan.error().kind == ErrorKind::kUnavailable || plan.error().field == "max-model-len";
    if (memory) fmt::print(stderr, "{}", advice_of(changes));
    return status;
  }
  if (options->json) {
    fmt::print("{}\n", as_json(*options, *plan, changes));
  } else {
    print_table(*options, *plan, changes);
  }
  return kExitOk;
}

}  // namespace m2::cli
