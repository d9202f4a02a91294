#include "engine/commit.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace m2 {
namespace {

TokenLogprobs read_logprobs(const StepResult& result, const SampledRow& row, TokenId token) {
  TokenLogprobs logprobs{token, row.logprob, row.rank, {}};
  logprobs.top.reserve(row.top.count);
  for (int32_t i = row.top.begin; i < row.top.begin + row.top.count; ++i) {
    logprobs.top.emplace_back(result.top_ids[i], result.top_logprobs[i]);
  }
  return logprobs;
}

void end(Sequence& sequence, FinishReason reason, CommitContext& context) {
  RequestOutput& output = context.outputs.of(sequence);
  output.finish = reason;
  if (reason == FinishReason::kStop) output.stop_token = sequence.tokens.back();
  context.scheduler.finish(sequence);
  context.ended.push_back(&sequence);
}

// The draw was void. What the next step does with the token that it took for it is void as well.
void void_draw(Sequence& sequence, CommitContext& context) {
  for (PlannedRow& row : context.next.rows) {
    if (row.sequence != &sequence) continue;
    row.wasted = true;
    sequence.draws_in_flight -= row.draws;
  }
  context.scheduler.repeat_last_token(sequence);
}

void commit_token(Sequence& sequence, TokenId token, const StepResult& result,
                  const SampledRow& row, CommitContext& context) {
  Constraint* const constraint = sequence.request.constraint.get();
  if (constraint != nullptr && !constraint->accept(token)) {
    context.outputs.of(sequence).error =
        Error{ErrorKind::kInternal, fmt::format("token {} does not fit the grammar", token), ""};
    return end(sequence, FinishReason::kError, context);
  }
  sequence.tokens.push_back(token);
  context.scheduler.token_known(sequence);
  ++context.generated_tokens;
  RequestOutput& output = context.outputs.of(sequence);
  output.tokens.push_back(token);
  const SamplingParams& sampling = sequence.request.sampling;
  if (sampling.num_logprobs >= 0 || !sampling.logprob_token_ids.empty()) {
    output.logprobs.push_back(read_logprobs(result, row, token));
  }
  const FinishReason reason = finish_reason(sequence);
  if (reason != FinishReason::kNone) end(sequence, reason, context);
}

Status commit_row(const PlannedRow& planned, const StepResult& result, CommitContext& context) {
  Sequence& sequence = *planned.sequence;
  const SampledRow* row = result.rows.data() + planned.first_sample;
  if (planned.num_targets > 0) {
    std::vector<TokenLogprobs>& logprobs = context.outputs.of(sequence).prompt_logprobs;
    for (int32_t i = 0; i < planned.num_targets; ++i) {
      logprobs.push_back(read_logprobs(result, *row++, sequence.tokens[planned.first_target + i]));
    }
  }
  if (!planned.draws) return {};
  --sequence.draws_in_flight;
  if (row->tokens.count == 0) {
    void_draw(sequence, context);
    return {};
  }
  if (row->tokens.count != 1) {
    return fail(ErrorKind::kInternal, "", "the executor drew {} tokens for one row",
                row->tokens.count);
  }
  const TokenId token = result.tokens[row->tokens.begin];
  if (token < 0 || token >= context.capacity.vocab_size) {
    return fail(ErrorKind::kInternal, "", "the executor drew token {} of a vocabulary of {}", token,
                context.capacity.vocab_size);
  }
  commit_token(sequence, token, result, *row, context);
  return {};
}

}  // namespace

Status commit_step(Step& step, const StepResult& result, CommitContext& context) {
  if (result.step != step.plan.step() || result.rows.size() != step.sample.rows.size()) {
    return fail(ErrorKind::kInternal, "",
                "the executor answered step {} with {} rows, not step {} with {}", result.step,
                result.rows.size(), step.plan.step(), step.sample.rows.size());
  }
  for (PlannedRow& row : step.rows) {
    --row.sequence->rows_in_flight;
    // Cancelled since it was sampled, or ended before: nobody wants the token.
    if (row.wasted || row.sequence->state == SequenceState::kFinished) continue;
    M2_TRY(commit_row(row, result, context));
  }
  return {};
}

}  // namespace m2
