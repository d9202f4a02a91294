#include "runtime/op_bench.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/divide_up.h"
#include "base/median.h"

namespace m2 {
namespace {

class OpBench {
 public:
  OpBench(RankParts& parts, const OpsLimits& limits, const StepShape& shape)
      : parts_(parts),
        ops_(*parts.ops),
        layers_(static_cast<int32_t>(parts.weights.layers.size())),
        forward_(parts.weights, *parts.ops, *parts.communicator),
        shape_(shape),
        limits_(limits) {
    const int32_t a_row =
        static_cast<int32_t>(divide_up(shape.context + shape.tokens, limits.block_tokens));
    for (int32_t r = 0; r < shape.rows; ++r) {
      for (int32_t i = 0; i < shape.tokens; ++i) tokens_.push_back(random_token());
      for (int32_t b = 0; b < a_row; ++b) blocks_.push_back(r * a_row + b);
      SampleRequest& request = requests_.emplace_back();
      request.slot = r;
      request.token_index = (r + 1) * shape.tokens - 1;
      request.temperature = 0;
    }
    for (int32_t r = 0; r < shape.rows; ++r) {
      rows_.push_back({r, r * shape.tokens, shape.tokens, shape.context,
                       std::span<const int32_t>(blocks_).subspan(size_t(r) * a_row, a_row)});
    }
  }

  // Every op once, what they read of each other is there then; before it the context, by prompts,
  // which only attention reads.
  Status prepare(bool with_context) {
    for (const BatchRow& row : rows_) {
      if (with_context) M2_TRY(fill_context(row));
    }
    return step();
  }
  Status step() {
    forward_.run({tokens_, rows_});
    return collect();
  }

  // Seconds of `repeats` times the op and the head, or of the head alone.
  Result<double> run(OpKind op, bool with_op, int32_t repeats) {
    M2_TRY(collect());
    ops_.begin_step({tokens_, rows_});
    const auto begin = std::chrono::steady_clock::now();
    for (int32_t i = 0; i < repeats; ++i) {
      if (with_op) call(op, i % layers_);
      head();
    }
    M2_TRY(collect());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  Status fill_context(const BatchRow& row) {
    std::vector<int32_t> prompt;
    for (int32_t at = 0; at < shape_.context; at += limits_.max_step_tokens) {
      prompt.resize(std::min(limits_.max_step_tokens, shape_.context - at));
      for (int32_t& token : prompt) token = random_token();
      const auto count = static_cast<int32_t>(prompt.size());
      const BatchRow chunk{row.slot, 0, count, at, row.blocks};
      forward_.run({prompt, std::span(&chunk, 1)});
      M2_TRY(collect_nothing());
    }
    return {};
  }
  Status collect_nothing() {
    ops_.head({}, parts_.weights.final_norm, parts_.weights.lm_head);
    ops_.sample({}, *parts_.communicator);
    return ops_.collect(output_);
  }
  int32_t random_token() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<int32_t>((state_ >> 8) % uint32_t(limits_.real_vocab));
  }
  void head() { ops_.head(requests_, parts_.weights.final_norm, parts_.weights.lm_head); }
  Status collect() {
    head();
    ops_.sample(requests_, *parts_.communicator);
    return ops_.collect(output_);
  }
  void call(OpKind op, int32_t layer) {
    const LayerWeights& w = parts_.weights.layers[layer];
    switch (op) {
      case OpKind::kNormQkv:
        return ops_.norm_qkv(w.input_norm, w.qkv);
      case OpKind::kAttention:
        return ops_.attention(layer, w.q_norm, w.k_norm, *parts_.communicator);
      case OpKind::kOProjAdd:
        return ops_.o_proj_add(w.o_proj, *parts_.communicator);
      case OpKind::kNormRoute:
        return ops_.norm_route(w.post_norm, w.gate);
      case OpKind::kExpertsAdd:
        return ops_.experts_add(w.gate_bias, w.gate_up, w.down, *parts_.communicator);
      case OpKind::kHead:
        return head();
    }
  }

  RankParts& parts_;
  Ops& ops_;
  const int32_t layers_;
  Forward forward_;
  const StepShape shape_;
  const OpsLimits limits_;
  uint32_t state_ = 1;
  std::vector<int32_t> tokens_, blocks_;
  std::vector<BatchRow> rows_;
  std::vector<SampleRequest> requests_;
  SampleOutput output_;
};

}  // namespace

Result<double> time_op(RankParts& parts, const OpsLimits& limits, OpKind op, const StepShape& shape,
                       const OpBenchOptions& options) {
  OpBench bench(parts, limits, shape);
  M2_TRY(bench.prepare(op == OpKind::kAttention));
  std::vector<double> differences;
  for (int32_t i = 0; i <= options.rounds; ++i) {
    M2_ASSIGN(const double with, bench.run(op, true, options.repeats));
    M2_ASSIGN(const double without, bench.run(op, false, options.repeats));
    // The first round warms up.
    if (i > 0) differences.push_back((with - without) / options.repeats);
  }
  return median(std::move(differences));
}

Result<std::vector<KernelTime>> time_kernels(RankParts& parts, const OpsLimits& limits,
                                             const StepShape& shape, int32_t steps) {
  OpBench bench(parts, limits, shape);
  M2_TRY(bench.prepare(true));
  std::vector<KernelTime> mean;
  // The first steps warm up, and may be recorded.
  constexpr int32_t kWarmUp = 3;
  for (int32_t i = -kWarmUp; i < steps; ++i) {
    M2_TRY(bench.step());
    const std::vector<KernelTime> times = parts.ops->kernel_times();
    if (times.empty()) {
      return fail(ErrorKind::kUnsupported, "device", "this device does not note kernels' times");
    }
    if (i < 0) continue;
    if (mean.empty()) mean.assign(times.size(), {});
    M2_CHECK(mean.size() == times.size(), "steps of one shape have {} and {} kernels", mean.size(),
             times.size());
    for (size_t k = 0; k < times.size(); ++k) {
      mean[k] = {times[k].name, times[k].count, mean[k].seconds + times[k].seconds / steps};
    }
  }
  return mean;
}

}  // namespace m2
