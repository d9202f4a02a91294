// m2-echo: `m2 serve` over an EchoExecutor. It takes a model folder (its weights are not needed)
// and the flags of `m2 serve`, and replies with what the last user message says after "reply:".
// M2_ECHO_STEP_US in the environment is the least time of a step, in microseconds.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "cli/serve.h"
#include "tests/e2e/echo_executor.h"

namespace m2 {
namespace {

// M2_ECHO_START_MS is how long it seems to load, and then to capture.
void pretend(cli::StartState& state) {
  const char* text = std::getenv("M2_ECHO_START_MS");
  const std::chrono::milliseconds time(text ? std::atoi(text) : 0);
  std::this_thread::sleep_for(time);
  state.phase = cli::StartPhase::kCapture;
  std::this_thread::sleep_for(time);
}

Result<cli::Executors> make_echo(const cli::ServeOptions& options, const cli::ModelFiles& files,
                                 cli::StartState& state) {
  pretend(state);
  if (files.eos_token_ids.empty()) {
    return invalid("eos_token_id", "m2-echo needs a model that names its end token");
  }
  constexpr int32_t kDefaultSequences = 256, kDefaultStepTokens = 8192, kDefaultBlocks = 65536;
  const auto or_default = [](int32_t value, int32_t otherwise) {
    return value > 0 ? value : otherwise;
  };
  Capacity capacity;
  capacity.block_tokens = options.block_tokens;
  capacity.num_blocks = or_default(options.num_blocks, kDefaultBlocks);
  capacity.max_sequences = or_default(options.max_sequences, kDefaultSequences);
  capacity.max_step_tokens =
      std::max(or_default(options.max_step_tokens, kDefaultStepTokens), capacity.max_sequences);
  capacity.max_sample_rows = capacity.max_sequences;
  const int64_t pool_tokens = int64_t{capacity.num_blocks} * capacity.block_tokens;
  capacity.max_model_tokens = static_cast<int32_t>(std::min<int64_t>(
      or_default(files.max_model_tokens, files.config.max_position_embeddings), pool_tokens));
  capacity.vocab_size = files.config.vocab_size;
  log_info("KV cache: {} tokens, of token ids alone: this server echoes", pool_tokens);
  cli::Executors replicas;
  for (int32_t i = 0; i < options.data_parallel; ++i) {
    auto executor =
        std::make_unique<EchoExecutor>(capacity, *files.tokenizer, files.eos_token_ids[0]);
    const char* step_us = std::getenv("M2_ECHO_STEP_US");
    if (step_us) executor->set_step_time(std::chrono::microseconds(std::atoi(step_us)));
    replicas.push_back(std::move(executor));
  }
  return replicas;
}

}  // namespace
}  // namespace m2

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  // `m2-echo serve FOLDER` and `m2-echo FOLDER` are the same.
  if (!arguments.empty() && arguments[0] == "serve") arguments.erase(arguments.begin());
  return m2::cli::serve(arguments, m2::make_echo);
}
