#include "engine/sampling.h"

#include <algorithm>

namespace m2 {
namespace {

Range append(std::vector<TokenId>& ids, std::span<const TokenId> values) {
  const auto begin = static_cast<int32_t>(ids.size());
  ids.insert(ids.end(), values.begin(), values.end());
  return {begin, static_cast<int32_t>(values.size())};
}

// True when the output ends with all but the last token of `word`, whose last one is then banned.
bool is_begun(const std::vector<TokenId>& word, const Sequence& sequence) {
  const auto prefix = static_cast<int32_t>(word.size()) - 1;
  return prefix >= 0 && prefix <= sequence.generated() &&
         std::equal(word.begin(), word.end() - 1, sequence.tokens.end() - prefix);
}

// min_tokens bans the end, unless nothing else may follow: a reply that can only end, ends.
bool bans_end(const Sequence& sequence) {
  return sequence.generated() < sequence.request.stop.min_tokens && !sequence.ends_only &&
         !(sequence.request.constraint && sequence.request.constraint->finished());
}

Range append_banned(std::vector<TokenId>& ids, const Sequence& sequence) {
  const Request& request = sequence.request;
  const auto begin = static_cast<int32_t>(ids.size());
  if (bans_end(sequence)) {
    append(ids, request.stop.eos_token_ids);
    append(ids, request.stop.stop_token_ids);
  }
  for (const std::vector<TokenId>& word : request.sampling.bad_words) {
    if (is_begun(word, sequence)) ids.push_back(word.back());
  }
  return {begin, static_cast<int32_t>(ids.size()) - begin};
}

Range append_bias(SamplePlan& plan, const SamplingParams& sampling) {
  const auto begin = static_cast<int32_t>(plan.bias_ids.size());
  for (const auto& [id, value] : sampling.logit_bias) {
    plan.bias_ids.push_back(id);
    plan.bias_values.push_back(value);
  }
  return {begin, static_cast<int32_t>(sampling.logit_bias.size())};
}

// The first word of the row's mask, or -1 when the constraint restricts nothing now.
int32_t append_mask(std::vector<uint32_t>& masks, Constraint& constraint, int32_t vocab_size) {
  const size_t begin = masks.size();
  masks.resize(begin + (static_cast<size_t>(vocab_size) + 31) / 32, ~0u);
  if (constraint.fill_mask(std::span(masks).subspan(begin))) return static_cast<int32_t>(begin);
  masks.resize(begin);
  return -1;
}

// Tells the device which tokens the penalties count. After a start, all of them: the slot's history
// is another sequence's.
void add_history(SamplePlan& plan, Sequence& sequence, SampleRow& row) {
  const int32_t sent = sequence.history_sent;
  row.history_reset = sent == 0;
  row.history = append(plan.ids, std::span(sequence.tokens).subspan(sent));
  row.history_prompt = std::max(0, sequence.prompt_tokens - sent);
  sequence.history_sent = sequence.known();
}

void add_draw(const Capacity& capacity, SamplePlan& plan, const PlannedRow& planned) {
  Sequence& sequence = *planned.sequence;
  const SamplingParams& sampling = sequence.request.sampling;
  SampleRow row;
  row.slot = sequence.slot;
  row.token_index = planned.first_token + planned.num_tokens - 1;
  row.position = planned.context_tokens + planned.num_tokens;
  row.temperature = sampling.temperature;
  row.top_p = sampling.top_p;
  row.min_p = sampling.min_p;
  row.top_k = sampling.top_k;
  row.seed = sampling.seed;
  row.num_logprobs = sampling.num_logprobs;
  if (!sampling.logprob_token_ids.empty()) {
    row.num_logprobs = std::max(row.num_logprobs, 0);
    row.logprob_ids = append(plan.ids, sampling.logprob_token_ids);
  }
  if (sequence.has_penalties) {
    row.repetition_penalty = sampling.repetition_penalty;
    row.presence_penalty = sampling.presence_penalty;
    row.frequency_penalty = sampling.frequency_penalty;
    add_history(plan, sequence, row);
  }
  if (!sampling.logit_bias.empty()) row.bias = append_bias(plan, sampling);
  if (!sampling.allowed_token_ids.empty()) {
    row.allowed = append(plan.ids, sampling.allowed_token_ids);
  }
  row.banned = append_banned(plan.ids, sequence);
  if (sequence.request.constraint) {
    row.mask = append_mask(plan.masks, *sequence.request.constraint, capacity.vocab_size);
  }
  plan.rows.push_back(row);
}

void add_targets(SamplePlan& plan, const PlannedRow& planned) {
  const Sequence& sequence = *planned.sequence;
  for (int32_t i = 0; i < planned.num_targets; ++i) {
    const int32_t position = planned.first_target + i;
    SampleRow row;
    row.slot = sequence.slot;
    row.token_index = planned.first_token + (position - 1 - planned.context_tokens);
    row.position = position;
    row.draw = false;
    row.target = sequence.tokens[position];
    row.num_logprobs = sequence.request.prompt_logprobs;
    plan.rows.push_back(row);
  }
}

}  // namespace

void plan_samples(const Capacity& capacity, Step& step) {
  SamplePlan& plan = step.sample;
  plan.clear();
  plan.step = step.plan.step();
  for (PlannedRow& row : step.rows) {
    row.first_sample = static_cast<int32_t>(plan.rows.size());
    row.wasted |= row.sequence->state == SequenceState::kFinished;
    if (row.wasted) continue;
    add_targets(plan, row);
    if (row.draws) add_draw(capacity, plan, row);
  }
}

}  // namespace m2
