#include "cli/bench_setup.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cpu/host.h"
#include "base/divide_up.h"
#include "cli/known_models.h"
#include "loader/dummy.h"

namespace m2::cli {
namespace {

ModelConfig pocket_shape() {
  ModelConfig c;
  c.hidden_size = 256;
  c.num_layers = 5;
  c.num_heads = 16;
  c.num_kv_heads = 8;
  c.head_dim = 128;
  c.rotary_dim = 64;
  c.expert_width = 512;
  c.num_experts = 8;
  c.experts_per_token = 2;
  c.vocab_size = 1024;
  c.max_position_embeddings = 196608;
  c.rope_theta = 5e6;
  return c;
}

ModelConfig shape_of(const BenchOptions& options) {
  ModelConfig config =
      options.shape == "pocket" ? pocket_shape() : *known_config("MiniMaxAI/MiniMax-M2.5");
  if (options.shape == "wide") {
    config.num_layers = 2;
    config.num_experts = 64;  // more than any cache holds, and it fits a small machine
  }
  if (options.num_layers > 0) config.num_layers = options.num_layers;
  return config;
}

// Of a sequence at the end of the timed steps: decode steps follow each other.
int32_t length_of(const BenchOptions& options, const StepShape& shape) {
  return shape.context + (shape.tokens == 1 ? options.steps + 2 : shape.tokens);
}

}  // namespace

LoadWeights BenchSetup::load() const {
  return [this](const ModelConfig& c, const Shard& shard, WeightBlock& block) {
    if (checkpoint) return checkpoint->load(shard, threads, block);
    return fill_dummy(c, shard, 1, threads, block);
  };
}

std::string BenchSetup::title(const BenchOptions& options) const {
  return fmt::format(
      "{}: {} layers of {}, {} experts of {} ({} a token), {} ids",
      options.model.empty() ? options.shape + " shape, random weights" : options.model,
      config.num_layers, config.hidden_size, config.num_experts, config.expert_width,
      config.experts_per_token, config.vocab_size);
}

Result<BenchSetup> bench_setup(const BenchOptions& options) {
  BenchSetup setup;
  setup.threads = options.threads > 0 ? options.threads : usable_cores();
  if (options.model.empty()) {
    setup.config = shape_of(options);
  } else {
    M2_ASSIGN(setup.config, load_config(options.model));
  }
  for (const StepShape& shape : bench_shapes(options)) {
    const int32_t longest = setup.config.max_position_embeddings;
    if (length_of(options, shape) <= longest) continue;
    return invalid("context",
                   "--context {} and {} tokens after it are past the model's {} positions",
                   shape.context, length_of(options, shape) - shape.context, longest);
  }
  if (!options.model.empty()) {
    M2_ASSIGN(setup.checkpoint, Checkpoint::open(options.model, setup.config));
  }
  return setup;
}

std::vector<StepShape> bench_shapes(const BenchOptions& options) {
  std::vector<StepShape> shapes;
  for (const int32_t context : options.contexts) {
    for (const int32_t rows : options.decode) shapes.push_back({rows, 1, context});
    for (const int32_t tokens : options.prefill) shapes.push_back({1, tokens, context});
  }
  return shapes;
}

RuntimeOptions bench_runtime(const BenchOptions& options, const std::vector<StepShape>& shapes) {
  RuntimeOptions out;
  out.device = options.device;
  out.threads = options.threads;
  out.parallelism = options.parallelism;
  out.kv_dtype = options.kv_dtype;
  int32_t rows = 1, tokens = 1, blocks = 0, longest = 0, context = 0;
  for (const StepShape& shape : shapes) {
    const int32_t length = length_of(options, shape);
    rows = std::max(rows, shape.rows);
    tokens = std::max(tokens, shape.rows * shape.tokens);
    longest = std::max(longest, length);
    context = std::max(context, shape.context);
    blocks =
        std::max(blocks, shape.rows * static_cast<int32_t>(divide_up(length, out.block_tokens)));
  }
  out.max_sequences = rows;
  constexpr int32_t kFillTokens = 2048;  // of the context at a time
  out.max_step_tokens = std::max({tokens, rows, std::min(context, kFillTokens)});
  out.max_model_tokens = longest;
  out.num_blocks = blocks;
  return out;
}

std::string shape_name(const StepShape& shape) {
  return shape.tokens == 1 ? fmt::format("decode {}", shape.rows)
                           : fmt::format("prefill {}", shape.tokens);
}

std::string floor_text(const StepCost& cost, double seconds, const DeviceRates& rates) {
  const double floor = std::max(cost.bytes / rates.read_bytes, cost.flops / rates.flops);
  return fmt::format("floor {:9.4f} ms = {:3.0f} %  (reads {:3.0f} %, multiply-adds {:3.0f} %)",
                     floor * 1e3, 100 * floor / seconds,
                     100 * cost.bytes / seconds / rates.read_bytes,
                     100 * cost.flops / seconds / rates.flops);
}

}  // namespace m2::cli
