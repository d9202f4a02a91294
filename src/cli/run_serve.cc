// `m2 serve` on the real model: the executor that serve.cc is given.
#include <chrono>
#include <optional>
#include <sstream>
#include <utility>

#include "backend/cpu/host.h"
#include "base/log.h"
#include "cli/load_progress.h"
#include "cli/runtime_options.h"
#include "cli/serve.h"
#include "loader/checkpoint.h"
#include "loader/dummy.h"

namespace m2::cli {
namespace {

void log_lines(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) log_info("{}", line);
}

RuntimeOptions wanted_runtime(const ServeOptions& options, const ModelFiles& files) {
  RuntimeOptions wanted = runtime_options(options);
  wanted.max_model_tokens = files.max_model_tokens;
  wanted.real_vocab = files.tokenizer->vocab_size();
  return wanted;
}

Error with_advice(Error error) {
  // The model's own limit has been looked at: what is too small is the cache.
  if (error.field == "max-model-len") {
    error.message += "; --kv-cache-memory-bytes and --kv-cache-dtype fp8 change that";
  }
  return error;
}

}  // namespace

Status check_room(const ServeOptions& options, const ModelFiles& files) {
  const auto plan = plan_runtime(files.config, wanted_runtime(options, files));
  if (!plan) return tl::unexpected(with_advice(plan.error()));
  return {};
}

Result<Runtime> load_runtime(const ServeOptions& options, const ModelFiles& files,
                             StartState& state) {
  const auto start = std::chrono::steady_clock::now();
  const int threads = options.threads > 0 ? options.threads : usable_cores();
  std::optional<Checkpoint> checkpoint;
  if (!options.dummy_weights) {
    M2_ASSIGN(checkpoint, Checkpoint::open(files.folder, files.config));
  }
  LoadProgress progress;
  const LoadWeights load = [&](const ModelConfig& config, const Shard& shard,
                               WeightBlock& block) -> Status {
    progress.begin(weights_bytes(config, shard));
    CountedBlock counted(block, progress);
    const Status loaded =
        checkpoint ? checkpoint->load(shard, threads, counted)
                   : fill_dummy(config, shard, options.seed.value_or(0), threads, counted);
    M2_TRY(loaded);
    M2_TRY(counted.finish());
    progress.end();
    return {};
  };
  RuntimeOptions wanted = wanted_runtime(options, files);
  wanted.warming_up = [&state] { state.phase = StartPhase::kCapture; };
  auto made = make_runtime(files.config, wanted, load);
  if (!made) return tl::unexpected(with_advice(std::move(made.error())));
  const Runtime& runtime = *made;

  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  log_info("device: {}", runtime.device);
  if (checkpoint) {
    log_info("weights: {} tensors of {} files, {:.1f} MB, loaded in {:.2f} s",
             checkpoint->num_tensors(), checkpoint->num_files(),
             static_cast<double>(progress.bytes()) / 1e6, progress.seconds());
  } else {
    log_info("weights: random ones of seed {}, {:.1f} MB, made in {:.2f} s",
             options.seed.value_or(0), static_cast<double>(progress.bytes()) / 1e6,
             progress.seconds());
  }
  log_info("engine: {:.2f} s for all but the weights", took.count() - progress.seconds());
  log_lines(describe(runtime.plan));
  const Capacity capacity = runtime.executors[0]->capacity();
  log_info(
      "KV cache: {} tokens ({} blocks of {}), shared by up to {} sequences of at most {} tokens",
      int64_t{capacity.num_blocks} * capacity.block_tokens, capacity.num_blocks,
      capacity.block_tokens, capacity.max_sequences, capacity.max_model_tokens);
  return made;
}

Result<Executors> load_executors(const ServeOptions& options, const ModelFiles& files,
                                 StartState& state) {
  M2_ASSIGN(Runtime runtime, load_runtime(options, files, state));
  return std::move(runtime.executors);
}

int run_serve(Arguments arguments) { return serve(arguments, load_executors, check_room); }

}  // namespace m2::cli
