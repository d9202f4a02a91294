// Two layers of the real model's widths, random weights of unit gain: right, and how long steps
// take. Times are printed, never judged.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <numeric>

#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

ModelConfig real_width(int32_t layers) {
  ModelConfig config;
  config.hidden_size = 3072;
  config.num_layers = layers;
  config.num_heads = 48;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 1536;
  config.num_experts = 256;
  config.experts_per_token = 8;
  config.vocab_size = 200064;
  config.max_position_embeddings = 196608;
  config.rope_theta = 5e6;
  return config;
}

// Host memory for the model, the two runners' copies of it, and room.
bool enough_memory(const ModelConfig& config) {
  const size_t free = size_t(sysconf(_SC_AVPHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE));
  return free > 4 * weights_bytes(config, *make_shard(config, {}, 0));
}

// Milliseconds of a decode step of `rows` sequences that have `context` tokens, the median of many:
// forward, greedy sampling and the results on the host.
double decode_ms(Runner& runner, int32_t rows, int32_t context, const OpsLimits& limits) {
  const int32_t a_row = (context + 40) / limits.block_tokens + 1;
  std::vector<std::vector<int32_t>> blocks(rows, std::vector<int32_t>(a_row));
  std::vector<int32_t> tokens(rows, kLastToken);
  std::vector<BatchRow> batch;
  std::vector<SampleRequest> requests(rows);
  for (int32_t i = 0; i < rows; ++i) {
    std::iota(blocks[i].begin(), blocks[i].end(), i * a_row);
    batch.push_back({i, i, 1, context, blocks[i]});
    requests[i].slot = requests[i].token_index = i;
    requests[i].temperature = 0;
  }
  std::vector<double> times;
  SampleOutput output;
  for (int32_t step = 0; step < 30; ++step) {
    const auto start = std::chrono::steady_clock::now();
    runner.forward().run({tokens, batch});
    runner.forward().sample(requests);
    EXPECT_TRUE(runner.ops().collect(output));
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
    for (BatchRow& row : batch) ++row.context_tokens;
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

TEST(CudaRealWidth, TwoLayers) {
  M2_NEEDS_GPU();
  const ModelConfig config = real_width(2);
  if (!enough_memory(config)) GTEST_SKIP() << "needs more host memory";
  OpsLimits limits;
  limits.max_step_tokens = 2048;
  limits.max_sequences = 128;
  limits.max_sample_rows = 256;
  limits.max_model_tokens = 4096;
  limits.num_blocks = 10000;
  limits.real_vocab = 200054;
  Model model{config, *make_shard(config, {}, 0), {}, {}};
  model.memory = HostMemory(weights_bytes(config, model.shard));
  fill_dummy(config, model.shard, 11, 16, model.memory.data());
  model.weights = weights_at(config, model.shard, model.memory.data());
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  {
    OpsLimits small = limits;
    small.num_blocks = 64;
    Runner cpu(model, small, fast_kernels(), 16);
    const auto tokens = some_tokens(100, config.vocab_size, 12);
    const auto oracle = cpu.sequence(tokens, 1000);
    for (const int32_t chunk : {1, 50, 1000}) {
      const LogitComparison result = compare_logits(cuda.sequence(tokens, chunk), oracle, 0.08);
      std::printf(
          "real width by %d: %ld positions, %zu over, %zu other top, largest %.1e, root "
          "mean square %.1e\n",
          chunk, long(result.positions), result.over.size(), result.wrong_top.size(),
          result.largest, result.root_mean_square);
      // Two layers choose 8 of 256 experts: some choices are ties.
      EXPECT_LE(result.over.size(), 20u);
      EXPECT_LT(result.root_mean_square, 0.03);
      EXPECT_LE(result.wrong_top.size(), 2u);
    }
  }
  for (const int32_t rows : {1, 8, 32, 64, 128}) {
    std::printf("real width, 2 layers and lm_head: decode %d rows at 1024: %.3f ms\n", rows,
                decode_ms(cuda, rows, 1024, limits));
  }
}

}  // namespace
}  // namespace m2::test
