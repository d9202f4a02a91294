#include "runtime/step_inputs.h"

#include "base/check.h"

namespace m2 {
namespace {

static_assert(kTokenFromDevice == kLastToken);

template <typename T>
std::span<const T> part(const std::vector<T>& all, const Range& range) {
  M2_CHECK(range.begin >= 0 && range.count >= 0 &&
           size_t(range.begin) + size_t(range.count) <= all.size());
  return std::span<const T>(all).subspan(range.begin, range.count);
}

SampleRequest request_of(const SampleRow& row, const SamplePlan& plan) {
  SampleRequest request;
  request.slot = row.slot;
  request.token_index = row.token_index;
  request.position = row.position;
  request.draw = row.draw;
  request.target = row.target;
  request.num_logprobs = row.num_logprobs;
  request.temperature = row.temperature;
  request.top_p = row.top_p;
  request.min_p = row.min_p;
  request.top_k = row.top_k;
  request.repetition_penalty = row.repetition_penalty;
  request.presence_penalty = row.presence_penalty;
  request.frequency_penalty = row.frequency_penalty;
  request.seed = row.seed;
  request.history = part(plan.ids, row.history);
  request.history_prompt = row.history_prompt;
  request.history_reset = row.history_reset;
  request.bias_ids = part(plan.bias_ids, row.bias);
  request.bias_values = part(plan.bias_values, row.bias);
  request.allowed = part(plan.ids, row.allowed);
  request.banned = part(plan.ids, row.banned);
  request.logprob_ids = part(plan.ids, row.logprob_ids);
  if (row.mask >= 0) {
    M2_CHECK(size_t(row.mask) < plan.masks.size());
    request.mask = plan.masks.data() + row.mask;
  }
  return request;
}

}  // namespace

StepInputs::StepInputs(const Capacity& capacity) {
  rows_.reserve(capacity.max_sequences);
  requests_.reserve(capacity.max_sample_rows);
}

Batch StepInputs::batch(const StepPlan& plan) {
  rows_.clear();
  for (const StepRow& row : plan.rows()) {
    rows_.push_back({.slot = row.slot,
                     .first_token = row.first_token,
                     .num_tokens = row.num_tokens,
                     .context_tokens = row.context_tokens,
                     .blocks = plan.blocks().subspan(row.first_block, row.num_blocks)});
  }
  return {.tokens = plan.tokens(), .rows = rows_};
}

std::span<const SampleRequest> StepInputs::requests(const SamplePlan& plan) {
  requests_.clear();
  for (const SampleRow& row : plan.rows) requests_.push_back(request_of(row, plan));
  return requests_;
}

void take_output(uint64_t step, SampleOutput& output, StepResult& result) {
  result.clear();
  result.step = step;
  for (const SampledToken& sampled : output.rows) {
    SampledRow& row = result.rows.emplace_back();
    row.tokens = {static_cast<int32_t>(result.tokens.size()), 1};
    row.rank = sampled.rank;
    row.logprob = sampled.logprob;
    row.top = {sampled.top_begin, sampled.top_count};
    result.tokens.push_back(sampled.token);
  }
  std::swap(result.top_ids, output.top_ids);
  std::swap(result.top_logprobs, output.top_logprobs);
}

}  // namespace m2
