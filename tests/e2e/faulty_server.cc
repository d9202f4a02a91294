// m2-faulty: `m2 serve` on real ranks, one of which dies or hangs, for tests of what then happens.
//   m2-faulty FAULT RANK SUM serve FOLDER …   FAULT: die or hang; SUM: at its so many-th sum over
//   ranks
//   m2-faulty FAULT gpu STEP serve FOLDER …   an NVIDIA GPU at fault, from its so many-th step on
#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "cli/serve.h"
#include "loader/checkpoint.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"
#include "tests/backend/cuda/driver.h"

namespace m2 {
namespace {

struct Fault {
  bool hangs = false;
  bool gpu = false;
  int32_t rank = 0;
  int64_t at = 0;  // the sum over ranks, or the step
};

// A rank's end of the communicator, behind which the rank comes to its end.
class Faulty final : public Communicator {
 public:
  Faulty(std::unique_ptr<Communicator> real, Fault fault) : real_(std::move(real)), fault_(fault) {}
  int32_t rank() const override { return real_->rank(); }
  int32_t size() const override { return real_->size(); }
  void all_reduce_sum(float* values, size_t count) override {
    if (--fault_.at == 0) {
      if (!fault_.hangs) throw std::runtime_error("the device is gone");
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
    real_->all_reduce_sum(values, count);
  }
  void broadcast(void* data, size_t bytes, int32_t root) override {
    real_->broadcast(data, bytes, root);
  }
  void all_gather(const void* mine, size_t bytes, void* all) override {
    real_->all_gather(mine, bytes, all);
  }
  void barrier() override { real_->barrier(); }
  void abort() override { real_->abort(); }
  Status status() const override { return real_->status(); }

 private:
  const std::unique_ptr<Communicator> real_;
  Fault fault_;
};

// A GPU on which something else goes wrong as a step is queued.
class FaultyGpu final : public Executor {
 public:
  FaultyGpu(std::unique_ptr<Executor> real, Fault fault) : real_(std::move(real)), fault_(fault) {}
  Capacity capacity() const override { return real_->capacity(); }
  void forward(const StepPlan& plan) override {
    if (--fault_.at == 0) {
      driver_.emplace();
      const bool made = fault_.hangs ? busy_.emplace(*driver_).ok() : test::break_context(*driver_);
      if (!made) std::fputs("m2-faulty: the fault could not be made\n", stderr);
    }
    real_->forward(plan);
  }
  void sample(const SamplePlan& plan) override { real_->sample(plan); }
  Status wait(Deadline deadline, StepResult& result) override {
    return real_->wait(deadline, result);
  }

 private:
  const std::unique_ptr<Executor> real_;
  Fault fault_;
  std::optional<test::CudaDriver> driver_;
  std::optional<test::BusyGpu> busy_;
};

Result<cli::Executors> make_faulty(const Fault& fault, const cli::ServeOptions& options,
                                   const cli::ModelFiles& files) {
  const Parallelism layout{options.tensor_parallel, options.expert_parallel};
  RuntimeOptions wanted;
  wanted.parallelism = layout;
  wanted.num_blocks = 512;
  wanted.fit_length = true;
  wanted.max_sequences = 8;
  wanted.max_step_tokens = 512;
  wanted.real_vocab = files.tokenizer->vocab_size();
  M2_ASSIGN(const Shard shard, make_shard(files.config, layout, 0));
  M2_ASSIGN(
      auto backend,
      open_backend({.device = fault.gpu ? "cuda" : "cpu", .threads = 0, .ranks = shard.size}));
  M2_ASSIGN(const MemoryPlan plan, plan_memory(files.config, shard, wanted, *backend));
  M2_ASSIGN(const auto checkpoint, Checkpoint::open(files.folder, files.config));
  const LoadWeights load = [&](const ModelConfig&, const Shard& part, WeightBlock& block) {
    return checkpoint.load(part, 1, block);
  };
  M2_ASSIGN(auto ranks, make_ranks(files.config, layout, plan.limits, load, *backend));
  if (!fault.gpu) {
    auto& communicator = ranks.at(fault.rank).communicator;
    communicator = std::make_unique<Faulty>(std::move(communicator), fault);
  }
  std::unique_ptr<Executor> executor =
      std::make_unique<RankGroup>(std::move(ranks), capacity_of(files.config, plan.limits));
  if (fault.gpu) executor = std::make_unique<FaultyGpu>(std::move(executor), fault);
  cli::Executors executors;
  executors.push_back(std::move(executor));
  return executors;
}

}  // namespace
}  // namespace m2

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fputs("m2-faulty die|hang RANK|gpu SUM|STEP serve FOLDER …\n", stderr);
    return 2;
  }
  const bool gpu = std::string(argv[2]) == "gpu";
  const m2::Fault fault{.hangs = std::string(argv[1]) == "hang",
                        .gpu = gpu,
                        .rank = gpu ? 0 : std::stoi(argv[2]),
                        .at = std::stoi(argv[3])};
  const std::vector<std::string> arguments(argv + 5, argv + argc);
  return m2::cli::serve(arguments, [&](const auto& options, const auto& files, auto&) {
    return m2::make_faulty(fault, options, files);
  });
}
