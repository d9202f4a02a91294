// `m2 check`: is what lies on disk the model that it says it is? Headers, hashes, tokenizer and
// template, each with a line of its own; every fault is told, not the first alone.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "backend/cpu/host.h"
#include "cli/check_forward.h"
#include "cli/commands.h"
#include "cli/flag_reader.h"
#include "cli/help.h"
#include "cli/model_files.h"
#include "cli/parse_flags.h"
#include "cli/serve.h"
#include "loader/checkpoint.h"
#include "loader/checkpoint_index.h"
#include "loader/hub/digest.h"
#include "loader/hub/hub.h"
#include "loader/hub/known_hash.h"
#include "loader/scale_check.h"
#include "model/shard.h"
#include "model/weights.h"

namespace m2::cli {
namespace {

// SHA-256 of the published files. Of a name with several, each is one member's.
struct Published {
  std::string_view file, sha256, of;
};
constexpr Published kPublished[] = {
    {"tokenizer.json", "757622126525aeeb131756849d93298070ff3f0319c455ec8c5bb0f6b1cebbe8",
     "MiniMax-M2, M2.1, M2.5 and M2.7"},
    {"chat_template.jinja", "6197838b2be771351d457d9f715ff8e0c0861b7c2d1b1d6ce2acab25ced9d530",
     "MiniMax-M2"},
    {"chat_template.jinja", "aa964556a0a30d039273a3e06d0d9cb14e25edba1f78ccba84cbf7ee4ce2dac4",
     "MiniMax-M2.1"},
    {"chat_template.jinja", "f83cec52bb3a7e5a3cb4d6fd1dfdd6f4fe13b06c5aaa39a1115e70a417fc75f5",
     "MiniMax-M2.5"},
    {"chat_template.jinja", "893d908f7b5cc65fdde270dcae5ea1a99647c6a7ce572ae874a57b7160069566",
     "MiniMax-M2.7"}};

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
                    used("forward", FlagKind::kSwitch, "ask the model two questions (on)"),
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

// What was found, in order; a fault makes the exit status.
class Findings {
 public:
  void right(std::string_view what, std::string_view text) { print(" ok ", what, text); }
  void note(std::string_view what, std::string_view text) { print("note", what, text); }
  void wrong(std::string_view what, std::string_view text) {
    print("BAD ", what, text);
    ++faults_;
  }
  int faults() const { return faults_; }

 private:
  static void print(std::string_view mark, std::string_view what, std::string_view text) {
    fmt::print("{} {:10} {}\n", mark, what, text);
  }
  int faults_ = 0;
};

void check_headers(const std::string& folder, const ModelConfig& config, Findings& findings) {
  const auto checkpoint = Checkpoint::open(folder, config);
  if (!checkpoint) return findings.wrong("headers", checkpoint.error().message);
  findings.right("headers", fmt::format("{} tensors in {} files, {:.1f} GB",
                                        checkpoint->num_tensors(), checkpoint->num_files(),
                                        static_cast<double>(checkpoint->bytes()) / 1e9));
}

std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> names = {"config.json",         "generation_config.json",
                                    "tokenizer.json",      "tokenizer_config.json",
                                    "chat_template.jinja", "model.safetensors.index.json"};
  if (const auto index = read_checkpoint_index(folder)) {
    names.insert(names.end(), index->files.begin(), index->files.end());
  }
  return names;
}

// Every file whose hash the hub has told, several at once: a whole model is read. False: none is
// known.
bool check_hashes(const std::string& folder, Findings& findings) {
  struct Wanted {
    std::string name, hash;
  };
  std::vector<Wanted> files;
  for (const std::string& name : files_of(folder)) {
    if (std::string hash = known_hash(folder, name); !hash.empty()) files.push_back({name, hash});
  }
  if (files.empty()) {
    findings.note("hashes", "not known: the folder did not come from the hub's cache");
    return false;
  }
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  int wrong = 0;
  const auto work = [&] {
    for (size_t i = next++; i < files.size(); i = next++) {
      const auto hash = digest_file(folder + "/" + files[i].name, files[i].hash);
      std::lock_guard lock(mutex);
      if (hash && *hash == files[i].hash) continue;
      ++wrong;
      findings.wrong("hashes", hash ? fmt::format("{}: hash {}, must be {}", files[i].name, *hash,
                                                  files[i].hash)
                                    : hash.error().message);
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < std::min(usable_cores(), 16); ++i) helpers.emplace_back(work);
    work();
  }
  if (wrong == 0) {
    findings.right("hashes", fmt::format("{} files as the hub has them", files.size()));
  }
  return true;
}

// Whether a file is one of the published ones: others may be right, but are not what was tested.
void check_published(const std::string& folder, std::string_view file, Findings& findings) {
  const auto hash = digest_file(folder + "/" + std::string(file), std::string(64, '0'));
  if (!hash) return;
  for (const Published& known : kPublished) {
    if (known.file != file || known.sha256 != *hash) continue;
    return findings.right("published", fmt::format("{} is that of {}", file, known.of));
  }
  findings.note("published", fmt::format("{} is none of the published ones", file));
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

// Scales that do not fit their blocks. Of a model that is right some may stand out, so that is a
// note; what is no number is a fault.
void check_block_scales(const std::string& folder, Findings& findings) {
  const auto checked = check_scales(folder, std::min(usable_cores(), 16));
  if (!checked) return findings.wrong("scales", checked.error().message);
  const std::vector<std::string>& broken = checked->broken;
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < std::min(kShown, broken.size()); ++i) findings.wrong("scales", broken[i]);
  if (broken.size() > kShown) {
    findings.wrong("scales", fmt::format("and {} matrices more", broken.size() - kShown));
  }
  if (!checked->odd.empty()) {
    const ScaleCheck::Odd& worst = checked->odd.front();
    findings.note("scales", fmt::format("{} of {} matrices have blocks that do not fit the others, "
                                        "as if scales had been changed; most of all {}, row {}, by "
                                        "a factor of {:.1f}",
                                        checked->odd.size(), checked->tensors, worst.tensor,
                                        worst.row, worst.factor));
  } else if (checked->tensors > 0 && checked->broken.empty()) {
    findings.right("scales", fmt::format("those of {} blocks of {} matrices fit their blocks",
                                         checked->blocks, checked->tensors));
  }
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
  if (!loaded) return findings.wrong("agreement", loaded.error().message);
  const auto others = question_logprobs(*loaded->executors.front(), files);
  if (!others) return findings.wrong("agreement", others.error().message);
  float largest = 0;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const float difference = std::abs(logprobs[i] - others->at(i));
    largest = std::isfinite(difference) ? std::max(largest, difference) : INFINITY;
  }
  const std::string text =
      fmt::format("{}: {} logprobs differ by {:.2g} at most, {} is rounding",
                  gpu ? "GPU and CPU" : "fast and plain kernels", logprobs.size(), largest, most);
  if (largest <= most) {
    findings.right("agreement", text);
  } else {
    findings.wrong("agreement", text);
  }
}

// Loads the model and asks it: files may be whole and of the right shape, and still say nonsense.
void ask(const ServeOptions& options, const ModelFiles& files, Findings& findings) {
  StartState state;
  const auto loaded = load_runtime(options, files, state);
  if (!loaded && loaded.error().kind == ErrorKind::kUnavailable &&
      loaded.error().field !=
          "device") {  // the machine is too small, which is no fault of the files
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
  ModelSource source;
  json::Object overrides;
  bool headers_alone = false, forward = true;
  ServeOptions options;
  FlagReader reader(*flags);
  reader.text("revision", source.revision);
  reader.text("download-dir", source.download_dir);
  reader.object("hf-overrides", overrides);
  reader.flag("headers", headers_alone);
  reader.flag("forward", forward);
  reader.integer("tensor-parallel-size", options.tensor_parallel, 1, 64);
  reader.flag("enable-expert-parallel", options.expert_parallel);
  if (reader.choice("device", {"auto", "cpu", "cuda"}) >= 0) reader.text("device", options.device);
  if (!reader.status()) return report(reader.status().error(), kExitUsage);
  if (flags->positionals.empty()) {
    return report({ErrorKind::kInvalidArgument, "which model? m2 check MODEL", "model"},
                  kExitUsage);
  }
  source.model = flags->positionals[0];
  const auto folder = find_model(source, read_hub_environment());
  if (!folder) return report(folder.error(), kExitFailure);
  const auto config = load_config(*folder, overrides);
  if (!config) return report(config.error(), kExitFailure);

  Findings findings;
  findings.right("config", describe(*config));
  check_headers(*folder, *config, findings);
  if (!headers_alone) {
    // What has its hash needs no evidence.
    if (!check_hashes(*folder, findings)) check_block_scales(*folder, findings);
    check_published(*folder, "tokenizer.json", findings);
    check_published(*folder, "chat_template.jinja", findings);
    options.model = *folder;
    options.hf_overrides = overrides;
    options.max_sequences = 1;
    options.max_model_tokens = std::min(kCheckedTokens, config->max_position_embeddings);
    const auto files = check_text(options, findings);
    // Weights that are known to be wrong are not asked.
    if (files && forward && findings.faults() == 0) ask(options, *files, findings);
  }
  if (findings.faults() == 0) return kExitOk;
  fmt::print("{}: {} faults\n", *folder, findings.faults());
  return kExitFailure;
}

}  // namespace m2::cli
