// Whole models on the GPU against the CPU, which is the oracle: forced tokens, position by
// position. The GPU rounds activations to bf16, so logits differ by about 1e-2 of their standard
// deviation; a token that then goes to another expert differs by more, and is counted apart.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <numeric>

#include "json/json.h"
#include "tests/backend/cpu/reference_ops.h"
#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"
#include "tests/backend/cuda/router_ties.h"

namespace m2::test {
namespace {

constexpr double kPocketTolerance = 0.15;  // a trained model's logits are sharper
constexpr double kRouterTie = 0.02;        // of a sigmoid: nearer experts may be chosen otherwise

OpsLimits cuda_limits(const ModelConfig& config, int32_t block_tokens = 16) {
  OpsLimits limits = small_limits(config);
  limits.block_tokens = block_tokens;
  limits.num_blocks = 256 * 16 / block_tokens;
  return limits;
}

// Every expert works on every token, so that no choice can turn on a rounding.
ModelConfig without_choice() {
  ModelConfig config = small_config();
  config.num_experts = config.experts_per_token = 5;
  return config;
}

void expect_near(const std::vector<Logits>& ours, const std::vector<Logits>& oracle,
                 const char* what) {
  ASSERT_EQ(ours.size(), oracle.size());
  const LogitComparison result = compare_logits(ours, oracle, kTolerance);
  std::printf("%s: %ld positions, largest %.1e, root mean square %.1e standard deviations\n", what,
              long(result.positions), result.largest, result.root_mean_square);
  EXPECT_TRUE(result.over.empty()) << what << ": " << result.over.size() << " positions, first "
                                   << result.over[0] << ", largest " << result.largest;
  EXPECT_TRUE(result.wrong_top.empty()) << what;
}

struct Shape {
  std::string name;
  ModelConfig config;
  int32_t block_tokens = 16;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  ModelConfig config = without_choice();
  all.push_back({"Fp8", config});
  config.weight_format = WeightFormat::kBF16;
  all.push_back({"Bf16", config});
  config = without_choice();
  config.num_layers = 0;
  all.push_back({"NoLayer", config});
  config = without_choice();
  config.head_dim = 64, config.rotary_dim = 32, config.num_heads = 16, config.num_kv_heads = 2;
  config.hidden_size = 384, config.expert_width = 256;
  all.push_back({"HeadsOf64", config, 64});
  config = without_choice();
  config.num_heads = 16, config.num_kv_heads = 1;
  config.vocab_size = 331;
  all.push_back({"SixteenHeadsAGroup", config, 32});
  config = without_choice();
  config.hidden_size = 1792, config.expert_width = 256;  // experts by bulk copies, a warp short
  all.push_back({"BulkExperts", config});
  return all;
}

class CudaModel : public ::testing::TestWithParam<Shape> {};

// One prompt in chunks: 1 and 7 take the stream kernels, 100 and more the tiles and prefill; what a
// chunk left in the cache the next one reads.
TEST_P(CudaModel, ChunksAgreeWithTheCpu) {
  M2_NEEDS_GPU();
  const ModelConfig& config = GetParam().config;
  const OpsLimits limits = cuda_limits(config, GetParam().block_tokens);
  const Model model = dummy_model(config, 3);
  Runner cpu(model, limits);
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  const auto tokens = some_tokens(301, config.vocab_size, 1);
  const auto oracle = cpu.sequence(tokens, 1000, 0, limits.block_tokens);
  for (const int32_t chunk : {1, 7, 16, 33, 100, 255, 1000}) {
    SCOPED_TRACE("chunks of " + std::to_string(chunk));
    const auto ours = cuda.sequence(tokens, chunk, 3, limits.block_tokens);
    expect_near(ours, oracle, (GetParam().name + " by " + std::to_string(chunk)).c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaModel, ::testing::ValuesIn(shapes()),
                         [](const auto& info) { return info.param.name; });

// Keys and values in FP8, on both sides. What rounds otherwise there is off by a sixteenth.
TEST(CudaFp8Cache, AgreesWithTheCpus) {
  M2_NEEDS_GPU();
  for (const int32_t head_dim : {64, 128}) {
    ModelConfig config = without_choice();
    config.head_dim = head_dim, config.rotary_dim = head_dim / 2;
    OpsLimits limits = cuda_limits(config);
    limits.kv_dtype = DType::kF8E4M3;
    const Model model = dummy_model(config, 4);
    Runner cpu(model, limits);
    Runner cuda(model, gpu_ops(config, model.shard, limits));
    OpsLimits exact_limits = limits;
    exact_limits.kv_dtype = DType::kF32;
    Runner exact(model, exact_limits);
    const auto tokens = some_tokens(301, config.vocab_size, 1);
    const auto oracle = cpu.sequence(tokens, 1000), ideal = exact.sequence(tokens, 1000);
    const double rounding = compare_logits(oracle, ideal, kTolerance).root_mean_square;
    for (const int32_t chunk : {1, 33, 1000}) {
      const LogitComparison result =
          compare_logits(cuda.sequence(tokens, chunk, 3), oracle, kTolerance);
      std::printf("fp8 cache by %d: root mean square %.1e, largest %.1e; FP8 alone makes %.1e\n",
                  chunk, result.root_mean_square, result.largest, rounding);
      EXPECT_LT(result.root_mean_square, 0.7 * rounding);
      EXPECT_GT(rounding, 0.0);
    }
  }
}

// Decode rows and prefill rows of many sequences in one step, over blocks in falling order.
TEST(CudaMixed, CompanyOfManySequences) {
  M2_NEEDS_GPU();
  const ModelConfig config = without_choice();
  const OpsLimits limits = cuda_limits(config);
  const Model model = dummy_model(config, 5);
  Runner cpu(model, limits);
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  std::vector<Piece> first, second;
  for (int32_t i = 0; i < 20; ++i) {
    const auto prompt = some_tokens(3 + 7 * i % 50, config.vocab_size, 10 + i);
    const auto count = static_cast<int32_t>(prompt.size());
    const int32_t cut = i % 2 == 0 ? count - 1 : count / 2;
    std::vector<int32_t> blocks;
    for (int32_t b = 0; b < 4; ++b) blocks.push_back(255 - 4 * i - b);
    const auto middle = prompt.begin() + cut;
    first.push_back({{prompt.begin(), middle}, 0, blocks, i});
    second.push_back({{middle, prompt.end()}, cut, blocks, i});
  }
  for (const auto& pieces : {first, second}) {
    const auto oracle = cpu.step(pieces);
    expect_near(cuda.step(pieces), oracle, "mixed");
  }
}

// A row may read blocks that another row of the same step fills.
TEST(CudaMixed, ARowReadsWhatAnotherOfTheStepStores) {
  M2_NEEDS_GPU();
  const ModelConfig config = without_choice();
  const OpsLimits limits = cuda_limits(config);
  const Model model = dummy_model(config, 6);
  Runner cpu(model, limits);
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  const auto tokens = some_tokens(40, config.vocab_size, 7);
  const auto whole = cpu.sequence(tokens, 1000);
  const Piece writer{{tokens.begin(), tokens.begin() + 32}, 0, {8, 9}, 0};
  const Piece reader{{tokens.begin() + 32, tokens.end()}, 32, {8, 9, 10}, 1};
  auto ours = cuda.step({writer, reader});
  expect_near(ours, whole, "shared blocks");
}

// The same where each has one token only: a step that looks like decode.
TEST(CudaMixed, ARowReadsWhatAnotherStoresInAStepOfSingleTokens) {
  M2_NEEDS_GPU();
  const ModelConfig config = without_choice();
  const OpsLimits limits = cuda_limits(config);
  const Model model = dummy_model(config, 6);
  Runner cpu(model, limits);
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  const auto tokens = some_tokens(17, config.vocab_size, 7);
  const auto whole = cpu.sequence(tokens, 1000);
  const Piece before{{tokens.begin(), tokens.begin() + 15}, 0, {8}, 0};
  cuda.step({before});
  const Piece writer{{tokens[15]}, 15, {8}, 0}, reader{{tokens[16]}, 16, {8, 9}, 1};
  expect_near(cuda.step({writer, reader}), {whole[15], whole[16]}, "shared block, single tokens");
}

// Tokens that choose among experts: a position may be off only where the choice was near a tie.
TEST(CudaRouter, OnlyTiesAreChosenOtherwise) {
  M2_NEEDS_GPU();
  ModelConfig config = small_config();
  config.num_experts = 40;
  config.experts_per_token = 4;
  const OpsLimits limits = cuda_limits(config);
  const Model model = dummy_model(config, 8);
  auto reference_ops = std::make_unique<ReferenceOps>(config, limits);
  const ReferenceOps& reference = *reference_ops;
  Runner oracle(model, std::move(reference_ops));
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  const auto tokens = some_tokens(150, config.vocab_size, 9);
  const auto want = oracle.sequence(tokens, 1000);
  int ties = 0;
  for (size_t t = 0; t < want.size(); ++t) ties += reference.router_margin(t) < kRouterTie;
  for (const int32_t chunk : {1, 30, 1000}) {
    const auto ours = cuda.sequence(tokens, chunk);
    const LogitComparison result = compare_logits(ours, want, kTolerance);
    // What went to another expert is seen by later tokens of the sequence, a little.
    size_t unexcused = 0;
    for (const size_t t : result.over) unexcused += reference.router_margin(t) >= kRouterTie;
    std::printf("router by %d: %d ties, %zu positions over, %zu of them no tie, largest %.1e\n",
                chunk, ties, result.over.size(), unexcused, result.largest);
    EXPECT_LE(unexcused, want.size() / 50);
  }
}

TEST(CudaStep, LastTokenStandsForItself) {
  M2_NEEDS_GPU();
  const ModelConfig config = small_config();
  const OpsLimits limits = cuda_limits(config);
  const Model model = dummy_model(config, 5);
  Runner runner(model, gpu_ops(config, model.shard, limits));
  const auto tokens = some_tokens(20, config.vocab_size, 6);
  std::vector<int32_t> blocks{3, 4};
  const BatchRow prefill{7, 0, 20, 0, blocks};
  runner.forward().run({tokens, {&prefill, 1}});
  SampleRequest request;
  request.slot = 7;
  request.token_index = 19;
  request.temperature = 0;
  runner.forward().sample({&request, 1});
  SampleOutput output;
  ASSERT_TRUE(runner.ops().collect(output));
  const int32_t drawn = output.rows[0].token;
  const auto by_device = runner.step({{{kLastToken}, 20, blocks, 7}});
  EXPECT_EQ(by_device, runner.step({{{drawn}, 20, blocks, 7}}));
  const int32_t other = (drawn + 1) % config.vocab_size;
  EXPECT_NE(by_device, runner.step({{{other}, 20, blocks, 7}})) << "the token must matter";
}

// Logits may be asked for again: the residual, to which the last experts are still to be added, is
// left as it was.
TEST(CudaStep, LogitsOfSomeTokensAndThenOfAll) {
  M2_NEEDS_GPU();
  constexpr int32_t kTokens = 20;
  const ModelConfig config = small_config();
  const Model model = dummy_model(config, 5);
  Runner runner(model, gpu_ops(config, model.shard, cuda_limits(config)));
  const auto tokens = some_tokens(kTokens, config.vocab_size, 6);
  const std::vector<int32_t> blocks{3, 4};
  const auto all = runner.step({{tokens, 0, blocks, 7}});
  const BatchRow row{7, 0, kTokens, 0, blocks};
  runner.forward().run({tokens, {&row, 1}});
  const auto logits_of = [&](const std::vector<int32_t>& wanted) {
    std::vector<SampleRequest> requests(wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) requests[i].token_index = wanted[i];
    const Weights& weights = runner.model().weights;
    runner.ops().head(requests, weights.final_norm, weights.lm_head);
    Logits flat(wanted.size() * config.vocab_size);
    EXPECT_TRUE(runner.ops().read_logits(flat));
    std::vector<Logits> logits;
    for (auto at = flat.begin(); at != flat.end(); at += config.vocab_size) {
      logits.emplace_back(at, at + config.vocab_size);
    }
    return logits;
  };
  EXPECT_TRUE(compare_logits(logits_of({19, 3}), {all[19], all[3]}, 1e-3).over.empty());
  std::vector<int32_t> every(kTokens);
  std::iota(every.begin(), every.end(), 0);
  EXPECT_EQ(logits_of(every), all);
}

// The host runs ahead of the device: what it writes for a step must not reach one that is still to
// read. Some steps sample, and nothing waits for most.
TEST(CudaStep, StepsAreQueuedBehindEachOther) {
  M2_NEEDS_GPU();
  constexpr int32_t kSteps = 9, kTokens = 3;
  ModelConfig config = small_config();
  config.num_layers = 1;
  const Model model = dummy_model(config, 5);
  const OpsLimits limits = cuda_limits(config);
  const auto tokens = some_tokens((kSteps + 1) * kTokens, config.vocab_size, 6);
  const std::vector<int32_t> blocks{3, 4, 6};
  const auto piece_of = [&](int32_t step) {
    const auto begin = tokens.begin() + step * kTokens;
    return std::vector<int32_t>(begin, begin + kTokens);
  };
  std::vector<Logits> want;
  Runner waits(model, gpu_ops(config, model.shard, limits));
  for (int32_t step = 0; step <= kSteps; ++step) {
    want = waits.step({{piece_of(step), step * kTokens, blocks, 7}});
  }
  for (const int32_t every : {1, 3, kSteps + 1}) {
    SCOPED_TRACE(fmt::format("one step in {} samples", every));
    Runner runner(model, gpu_ops(config, model.shard, limits));
    int32_t uncollected = 0;
    SampleOutput output;
    for (int32_t step = 0; step < kSteps; ++step) {
      const auto piece = piece_of(step);
      const BatchRow row{7, 0, kTokens, step * kTokens, blocks};
      runner.forward().run({piece, {&row, 1}});
      if ((step + 1) % every != 0) continue;
      SampleRequest request;
      request.slot = 7;
      request.token_index = step % kTokens;
      runner.forward().sample({&request, 1});
      if (++uncollected < 2) continue;
      ASSERT_TRUE(runner.ops().collect(output));
      --uncollected;
    }
    EXPECT_EQ(runner.step({{piece_of(kSteps), kSteps * kTokens, blocks, 7}}), want);
  }
}

// Every kernel has its share of a step, one that is replayed too; and none where nobody asked.
TEST(CudaStep, KernelTimesTellWhereAStepsTimeWent) {
  M2_NEEDS_GPU();
  ModelConfig config = small_config();
  config.num_layers = 2;
  const Model model = dummy_model(config, 5);
  const std::vector<int32_t> blocks{3, 4}, tokens{5, 6, 7};
  for (const bool asked : {true, false}) {
    const auto backend = open_backend({.device = "cuda", .note_kernel_times = asked});
    ASSERT_TRUE(backend) << backend.error().message;
    Runner runner(model, gpu_ops(config, model.shard, cuda_limits(config), **backend));
    for (const int32_t count : {3, 1, 1}) {
      const auto begin = std::chrono::steady_clock::now();
      const BatchRow row{7, 0, count, 0, blocks};
      runner.forward().run({{tokens.data(), size_t(count)}, {&row, 1}});
      SampleRequest request;
      request.slot = 7;
      runner.forward().sample({&request, 1});
      SampleOutput output;
      ASSERT_TRUE(runner.ops().collect(output));
      const auto times = runner.ops().kernel_times();
      const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
      ASSERT_EQ(times.empty(), !asked);
      if (!asked) continue;
      EXPECT_EQ(times.front().name, "embedding");
      EXPECT_EQ(times.back().name, "sampling");
      double sum = 0;
      for (const KernelTime& time : times) {
        EXPECT_GE(time.seconds, 0) << time.name;
        sum += time.seconds;
        const bool is_once = time.name == "embedding" || time.name == "lm_head";
        const bool is_of_layers = time.name == "attention" || time.name == "experts' down";
        if (is_once || is_of_layers) {
          EXPECT_EQ(time.count, is_once ? 1 : config.num_layers) << time.name;
        }
      }
      EXPECT_GT(sum, 0);
      EXPECT_LE(sum, all.count());
    }
  }
}

TEST(CudaStep, RefusesWhatItDoesNotServe) {
  M2_NEEDS_GPU();
  const auto refused = [](auto change) {
    ModelConfig config = small_config();
    OpsLimits limits = cuda_limits(config);
    limits.kv_dtype = DType::kBF16;
    change(config, limits);
    const Shard shard = *make_shard(config, {}, 0);
    const auto ops = gpu().backend->make_ops(config, shard, limits);
    return ops ? std::string("accepted") : ops.error().field;
  };
  EXPECT_EQ(refused([](ModelConfig&, OpsLimits& l) { l.block_tokens = 8; }), "block-size");
  EXPECT_EQ(refused([](ModelConfig& c, OpsLimits&) { c.head_dim = 32, c.rotary_dim = 16; }),
            "head_dim");
  EXPECT_EQ(refused([](ModelConfig&, OpsLimits& l) { l.kv_dtype = DType::kF32; }),
            "kv-cache-dtype");
}

// The prompts of the golden replies with the replies after them, as ids.
std::vector<std::vector<int32_t>> golden_conversations() {
  std::ifstream file(M2_SOURCE_DIR "/tests/golden/logits/pocket.json");
  const auto golden = json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  std::vector<std::vector<int32_t>> all;
  if (!golden) return all;
  for (const json::Value& entry : golden->as_array()) {
    std::vector<int32_t>& tokens = all.emplace_back();
    for (const char* key : {"prompt_ids", "reply_ids"}) {
      for (const json::Value& id : entry.find(key)->as_array()) {
        tokens.push_back(static_cast<int32_t>(id.as_int()));
      }
    }
  }
  return all;
}

// The trained checkpoint, forced through conversations. The CPU stands for the reference: its own
// oracle test holds it to 1e-3.
TEST(CudaPocket, ForcedTokensHaveTheSameTopToken) {
  M2_NEEDS_GPU();
  const auto model = load_model(M2_SOURCE_DIR "/models/pocket");
  ASSERT_TRUE(model) << model.error().message;
  const auto conversations = golden_conversations();
  ASSERT_GE(conversations.size(), 5u);
  const OpsLimits limits = cuda_limits(model->config);
  Runner cpu(*model, limits, fast_kernels(), 8);
  Runner cuda(*model, gpu_ops(model->config, model->shard, limits));
  int64_t positions = 0, over = 0, wrong = 0, over_without_tie = 0, wrong_without_tie = 0;
  double squares = 0;
  for (size_t i = 0; i < conversations.size(); ++i) {
    const auto& tokens = conversations[i];
    const auto oracle = cpu.sequence(tokens, 1000);
    const auto ours = cuda.sequence(tokens, i % 2 == 0 ? 1 : 1000);
    const LogitComparison result = compare_logits(ours, oracle, kPocketTolerance);
    positions += result.positions;
    over += std::ssize(result.over);
    wrong += std::ssize(result.wrong_top);
    const auto free_of_ties = [&](const std::vector<size_t>& these) {
      return std::ssize(not_tied(cpu, tokens, oracle, these, kRouterTie / 2, kPocketTolerance / 2));
    };
    over_without_tie += free_of_ties(result.over);
    wrong_without_tie += free_of_ties(result.wrong_top);
    squares += result.root_mean_square * result.root_mean_square / double(conversations.size());
  }
  std::printf(
      "pocket: %ld positions, root mean square %.1e; %ld past the tolerance, %ld of them no "
      "router tie; %ld other top tokens, %ld of them no router tie\n",
      long(positions), std::sqrt(squares), long(over), long(over_without_tie), long(wrong),
      long(wrong_without_tie));
  EXPECT_EQ(wrong_without_tie, 0);
  EXPECT_LE(over_without_tie, positions / 100);
  EXPECT_LE(over, positions / 20);
}

}  // namespace
}  // namespace m2::test
