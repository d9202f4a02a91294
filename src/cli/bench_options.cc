#include "cli/bench_options.h"

#include <algorithm>
#include <charconv>

#include "cli/flag_reader.h"
#include "cli/parse_flags.h"
#include "runtime/step_cost.h"

namespace m2::cli {
namespace {

constexpr Alias kAliases[] = {{"tp", "tensor-parallel-size"}, {"ep", "enable-expert-parallel"}};
constexpr std::string_view kShapes[] = {"pocket", "wide", "m2"};
constexpr int32_t kMostRows = 4096, kLongest = 1 << 20;

// Lists of sizes: --decode 1 8 64.
void sizes(FlagReader& reader, std::string_view name, int32_t most, std::vector<int32_t>& out,
           bool zero_counts = false) {
  std::vector<std::string> words;
  reader.texts(name, words);
  if (words.empty()) return;
  out.clear();
  for (const std::string& word : words) {
    int32_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < 0 || value > most) {
      return reader.refuse(name, fmt::format("--{} takes numbers of 0{} to {}, got '{}'", name,
                                             zero_counts ? "" : " (none)", most, word));
    }
    if (value > 0 || zero_counts) out.push_back(value);
  }
}

std::string op_names() {
  std::string names;
  for (const OpKind op : kOpKinds) {
    if (!names.empty()) names += ", ";
    names += op_name(op);
  }
  return names;
}

void read_ops(FlagReader& reader, BenchOptions& out) {
  reader.texts("op", out.ops);
  for (const std::string& name : out.ops) {
    const bool known = std::any_of(kOpKinds.begin(), kOpKinds.end(),
                                   [&](OpKind op) { return op_name(op) == name; });
    if (!known) {
      return reader.refuse("op", fmt::format("--op must be of {}, got '{}'", op_names(), name));
    }
  }
  if (!out.ops.empty() && out.kind != BenchKind::kOps) {
    reader.refuse("op", "--op is for m2 bench ops");
  }
}

// [ops|kernels|frontier] [FOLDER]. A folder of such a name is ./ops.
Status read_positionals(const std::vector<std::string>& words, BenchOptions& out) {
  size_t next = 0;
  constexpr std::pair<std::string_view, BenchKind> kKinds[] = {{"ops", BenchKind::kOps},
                                                               {"kernels", BenchKind::kKernels},
                                                               {"frontier", BenchKind::kFrontier}};
  for (const auto& [name, kind] : kKinds) {
    if (next == 0 && !words.empty() && words[0] == name) out.kind = kind, next = 1;
  }
  if (out.kind == BenchKind::kFrontier) out.contexts = {0, 1024, 4096, 16384}, out.decode = {1};
  if (next < words.size()) out.model = words[next++];
  if (next == words.size()) return {};
  return invalid("", "one folder is timed, got '{}' too", words[next]);
}

}  // namespace

const Command& bench_command() {
  static const std::string op_help = "of ops: only these, of " + op_names();
  static const Command command = [] {
    const auto used = [](std::string_view name, FlagKind kind, std::string_view help) {
      return Flag{name, kind, FlagEffect::kUsed, "Flags", help};
    };
    return Command{
        "bench",
        "m2 bench [ops|kernels|frontier] [FOLDER] [flags]",
        "time decode and prefill steps, the ops of a step (ops), or steps against the context, as "
        "CSV (frontier), on this machine, against its own roof; or say what the kernels of a step "
        "take where they stand in it (kernels, on a GPU)",
        {used("shape", FlagKind::kText,
              "random weights of: pocket; wide (two layers of the real width and its output "
              "matrix); m2 (all layers; --num-layers makes it fit)"),
         used("num-layers", FlagKind::kInt, "so many layers of the shape"),
         used("decode", FlagKind::kList,
              "sequences that decode together (1 16, frontier: 1; 0: none)"),
         used("prefill", FlagKind::kList, "prompt lengths (512; 0: none)"),
         used("context", FlagKind::kList,
              "tokens in the KV cache before (0; frontier: 0 1024 4096 16384)"),
         used("op", FlagKind::kList, op_help),
         used("steps", FlagKind::kInt, "timed steps of each, of which the median is told (20)"),
         used("device", FlagKind::kText, "auto, cpu or cuda"),
         used("threads", FlagKind::kInt, "CPU threads of all ranks together (the cores)"),
         used("tensor-parallel-size", FlagKind::kInt, "ranks (1)"),
         used("enable-expert-parallel", FlagKind::kSwitch, "whole experts a rank"),
         used("kv-cache-dtype", FlagKind::kText, "auto, bfloat16 or fp8_e4m3")},
        kAliases,
        2};
  }();
  return command;
}

Result<BenchOptions> parse_bench_options(Arguments arguments) {
  M2_ASSIGN(const ParsedFlags flags, parse_flags(bench_command(), arguments));
  BenchOptions out;
  out.help = flags.help;
  out.help_topic = flags.help_topic;
  M2_TRY(read_positionals(flags.positionals, out));
  FlagReader reader(flags);
  const int shape = reader.choice("shape", {"pocket", "wide", "m2"});
  if (shape >= 0) out.shape = kShapes[shape];
  reader.integer("num-layers", out.num_layers, 1, 1024);
  sizes(reader, "decode", kMostRows, out.decode);
  sizes(reader, "prefill", kLongest, out.prefill);
  sizes(reader, "context", kLongest, out.contexts, true);
  read_ops(reader, out);
  reader.integer("steps", out.steps, 1, 100000);
  const int device = reader.choice("device", {"auto", "cpu", "cuda"});
  if (device > 0) out.device = device == 1 ? "cpu" : "cuda";
  reader.integer("threads", out.threads, 1, 4096);
  reader.integer("tensor-parallel-size", out.parallelism.tensor_parallel, 1, 64);
  reader.flag("enable-expert-parallel", out.parallelism.expert_parallel);
  const int kv = reader.choice("kv-cache-dtype", {"auto", "bfloat16", "fp8_e4m3"});
  if (kv > 0) out.kv_dtype = kv == 1 ? DType::kBF16 : DType::kF8E4M3;
  M2_TRY(reader.status());
  if (out.model.empty() || (!flags.find("shape") && !flags.find("num-layers"))) return out;
  return invalid("shape", "a folder has its own shape: leave out --shape and --num-layers");
}

}  // namespace m2::cli
