#include "engine/scheduler.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace m2 {
namespace {

// What a reply counts for in a client's share, in prompt tokens: its length is not known, and a
// prompt of one token is work too.
constexpr uint64_t kReplyWork = 256;

// Prompt positions whose logprobs a row over [computed, computed + tokens) gives: the logits at one
// position judge the token at the next.
int32_t targets_in(const Sequence& sequence, int32_t tokens) {
  if (!sequence.wants_prompt_logprobs()) return 0;
  const int32_t first = std::max(sequence.computed + 1, sequence.next_prompt_target);
  const int32_t last = std::min(sequence.computed + tokens, sequence.prompt_tokens - 1);
  return std::max(0, last - first + 1);
}

int32_t samples_in(const Sequence& sequence, int32_t tokens) {
  const bool draws = sequence.computed + tokens == sequence.length();
  return targets_in(sequence, tokens) + draws;
}

}  // namespace

Scheduler::Scheduler(const Capacity& capacity, const EngineOptions& options)
    : capacity_(capacity),
      options_(options),
      // So that every running sequence can have a token and a draw in every step.
      max_running_(
          std::min({capacity.max_sequences, capacity.max_step_tokens, capacity.max_sample_rows})),
      kv_(capacity, options.prefix_caching, options.cache_key),
      prefill_share_(capacity.max_sequences + 1),
      free_slots_(capacity.max_sequences) {
  running_.reserve(capacity.max_sequences);
  chunks_.reserve(capacity.max_sequences);
  giving_way_.reserve(capacity.max_sequences);
  std::iota(free_slots_.rbegin(), free_slots_.rend(), 0);
}

void Scheduler::add(Sequence& sequence) {
  const bool by_priority = options_.policy == SchedulingPolicy::kPriority;
  uint64_t turn = 0;
  if (options_.share_by_client) {
    const auto work = static_cast<uint64_t>(sequence.prompt_tokens) + kReplyWork;
    turn = share_.enter(sequence.request.client, work);
  }
  sequence.rank = {by_priority ? sequence.request.priority : 0, turn, next_arrival_++};
  wait(sequence);
}

void Scheduler::wait(Sequence& sequence) {
  sequence.state = SequenceState::kWaiting;
  waiting_.insert(sequence);
  share_.add_waiting(sequence.request.client, 1);
}

void Scheduler::stop_waiting(Sequence& sequence) {
  waiting_.remove(sequence);
  share_.add_waiting(sequence.request.client, -1);
  if (next_ == &sequence) next_ = nullptr;
}

void Scheduler::finish(Sequence& sequence) {
  if (sequence.state == SequenceState::kRunning) {
    leave(static_cast<size_t>(std::ranges::find(running_, &sequence) - running_.begin()));
  } else if (sequence.state == SequenceState::kWaiting) {
    stop_waiting(sequence);
  }
  sequence.state = SequenceState::kFinished;
  sequence.request.constraint.reset();
}

void Scheduler::plan(Step& step) {
  step.clear();
  step.plan.set_step(++step_number_);
  make_way();
  preempted_ = false;
  chunks_.clear();
  Budget budget = prefill_budget();
  // In order of rank, so that a preempted sequence is never one that has its row already.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    const int32_t wanted = sequence.uncomputed();
    if (wanted == 0) continue;
    if (wanted == 1) {
      if (make_room(i, 1) == 1) add_row(step, sequence, 1);
      continue;
    }
    const int32_t tokens = make_room(i, chunk_tokens(sequence, budget));
    if (tokens == 0) continue;
    spend(budget, sequence, tokens);
    chunks_.push_back({&sequence, tokens});
  }
  for (const Chunk& chunk : chunks_) add_row(step, *chunk.sequence, chunk.tokens);
  // A step that had to take blocks away does not hand any out to newcomers.
  if (!preempted_) admit(step, budget);
}

// Decodes come first: what they need is set aside before any prefill gets its share. Prompt
// logprobs leave half of the sample rows to draws, so that newcomers can start beside them.
Scheduler::Budget Scheduler::prefill_budget() {
  int32_t decodes = 0;
  for (const Sequence* sequence : running_) decodes += sequence->uncomputed() == 1;
  const int32_t samples = capacity_.max_sample_rows - decodes;
  const Budget budget{capacity_.max_step_tokens - decodes, samples,
                      std::min(samples, (capacity_.max_sample_rows + 1) / 2)};
  // Whole prompts cannot be cut for anybody's sake.
  if (options_.share_by_client && options_.chunked_prefill) share_prefill(budget);
  return budget;
}

// Who has prompts to compute in this step: those that run, and who is to start.
void Scheduler::share_prefill(const Budget& budget) {
  prefill_share_.begin(budget.tokens);
  for (const Sequence* sequence : running_) {
    const int32_t wanted = sequence->uncomputed();
    if (wanted > 1) prefill_share_.add_wanted(sequence->request.client, wanted);
  }
  if (waiting_.empty()) return;
  const Sequence& next = next_ ? *next_ : waiting_.front();
  if (!is_blocked(next)) prefill_share_.add_wanted(next.request.client, next.known());
}

void Scheduler::spend(Budget& budget, const Sequence& sequence, int32_t tokens) {
  prefill_share_.take(sequence.request.client, tokens);
  budget.tokens -= tokens;
  budget.samples -= samples_in(sequence, tokens);
  budget.targets = std::min(budget.targets - targets_in(sequence, tokens), budget.samples);
  budget.used = true;
}

// How much of the sequence's uncomputed tokens this step may take; 0 when its turn comes later.
int32_t Scheduler::chunk_tokens(const Sequence& sequence, const Budget& budget) const {
  const int32_t wanted = sequence.uncomputed();
  int32_t tokens =
      std::min(wanted, budget.tokens - prefill_share_.reserved_beside(sequence.request.client));
  if (!options_.chunked_prefill) {
    // Whole prompts only; one that fits no step is cut all the same when it has the step to itself.
    if (tokens < wanted && budget.used) return 0;
  } else if (options_.long_prefill_tokens > 0) {
    tokens = std::min(tokens, options_.long_prefill_tokens);
  }
  const int32_t targets = targets_in(sequence, tokens);
  if (targets > budget.targets) {
    const int32_t first = std::max(sequence.computed + 1, sequence.next_prompt_target);
    tokens = first + budget.targets - 1 - sequence.computed;
  }
  // The token that completes the prompt also needs a row for its draw.
  if (tokens == wanted && samples_in(sequence, tokens) > budget.samples) --tokens;
  return std::max(tokens, 0);
}

void Scheduler::admit(Step& step, Budget& budget) {
  while (!waiting_.empty() && running_.size() < max_running_ && budget.tokens > 0) {
    // In order: a small sequence never overtakes a large one, which would then starve. What others
    // gave way for goes to nobody else.
    if (!start(step, next_ ? *next_ : waiting_.front(), budget)) return;
  }
}

bool Scheduler::start(Step& step, Sequence& sequence, Budget& budget) {
  // Preempted in this very step: the token that it is owed is not known yet.
  if (sequence.draws_in_flight > 0) return false;
  if (is_blocked(sequence)) return false;

  // Logprobs of a prompt position need its logits, so nothing may be skipped while some are due.
  const bool reads_cache =
      !sequence.wants_prompt_logprobs() || sequence.next_prompt_target >= sequence.prompt_tokens;
  const PrefixMatch match = kv_.match(sequence, reads_cache);
  // All of it must fit beside what was begun, though it may take several steps: half a prompt helps
  // nobody.
  const int32_t missing = kv_.blocks_for(sequence.known()) - match.blocks;
  if (missing > kv_.available() - match.unreferenced - promised_blocks()) {
    blocked_arrival_ = sequence.rank.arrival;
    blocked_releases_ = kv_.releases();
    return false;
  }
  sequence.computed = match.blocks * capacity_.block_tokens;
  const int32_t tokens = chunk_tokens(sequence, budget);
  if (tokens == 0) {
    sequence.computed = 0;
    return false;
  }
  // In before out, here as in preempt(): the client is known throughout, which costs no memory.
  share_.add_running(sequence.request.client, 1);
  stop_waiting(sequence);
  sequence.state = SequenceState::kRunning;
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  kv_.adopt(sequence, match);
  kv_.extend(sequence, sequence.computed + tokens);
  const auto by_rank = [](const Sequence* other) { return other->rank; };
  running_.insert(std::ranges::upper_bound(running_, sequence.rank, {}, by_rank), &sequence);
  note_start(sequence);
  spend(budget, sequence, tokens);
  add_row(step, sequence, tokens);
  return true;
}

// Counts a sequence's first start. One that was preempted starts again, which is no new prompt.
void Scheduler::note_start(Sequence& sequence) {
  if (sequence.started) return;
  sequence.started = true;
  share_.start(sequence.rank.turn);
  sequence.cached_tokens = std::min(sequence.computed, sequence.prompt_tokens);
  if (options_.prefix_caching) {
    counters_.prefix_queries += sequence.prompt_tokens;
    counters_.prefix_hits += sequence.cached_tokens;
  }
  ++counters_.started_requests;
  counters_.prompt_tokens += sequence.prompt_tokens;
}

void Scheduler::add_row(Step& step, Sequence& sequence, int32_t tokens) {
  StepPlan& plan = step.plan;
  const int32_t context = sequence.computed;
  const auto first_token = static_cast<int32_t>(plan.tokens().size());
  const auto first_block = static_cast<int32_t>(plan.blocks().size());
  const std::span<TokenId> ids = plan.add_tokens(tokens);
  // Only the newest token can still be on the device.
  const int32_t known = std::min(tokens, sequence.known() - context);
  std::copy_n(sequence.tokens.begin() + context, known, ids.begin());
  std::ranges::fill(ids.subspan(known), kTokenFromDevice);
  const std::span<const int32_t> table =
      kv_.table(sequence).first(kv_.blocks_for(context + tokens));
  std::ranges::copy(table, plan.add_blocks(static_cast<int32_t>(table.size())).begin());
  plan.add_row() = {sequence.slot, first_token, tokens,
                    context,       first_block, static_cast<int32_t>(table.size())};

  PlannedRow row{};
  row.sequence = &sequence;
  row.first_token = first_token;
  row.num_tokens = tokens;
  row.context_tokens = context;
  row.num_targets = targets_in(sequence, tokens);
  row.draws = context + tokens == sequence.length();
  if (row.num_targets > 0) {
    row.first_target = std::max(context + 1, sequence.next_prompt_target);
    sequence.next_prompt_target = row.first_target + row.num_targets;
  }
  step.rows.push_back(row);

  ++sequence.rows_in_flight;
  sequence.computed += tokens;
  sequence.draws_in_flight += row.draws;
  kv_.hold_full_blocks(sequence);
}

void Scheduler::repeat_last_token(Sequence& sequence) {
  sequence.computed = std::min(sequence.computed, sequence.known() - 1);
}

void Scheduler::check_invariants() const {
  std::vector<bool> slots(capacity_.max_sequences, false);
  const auto claim = [&](int32_t slot) {
    M2_CHECK(slot >= 0 && slot < capacity_.max_sequences && !slots[slot]);
    slots[slot] = true;
  };
  for (const int32_t slot : free_slots_) claim(slot);
  for (size_t i = 0; i < running_.size(); ++i) {
    const Sequence& sequence = *running_[i];
    claim(sequence.slot);
    M2_CHECK(sequence.state == SequenceState::kRunning);
    M2_CHECK(i == 0 || running_[i - 1]->rank < sequence.rank);
    M2_CHECK(sequence.computed < sequence.length() && sequence.known() <= sequence.most_tokens);
    M2_CHECK(sequence.draws_in_flight >= 0 && sequence.draws_in_flight <= 2);
  }
  M2_CHECK(free_slots_.size() + running_.size() == slots.size());
  const std::span<Sequence* const> waiting = waiting_.sequences();
  for (size_t i = 0; i < waiting.size(); ++i) {
    M2_CHECK(waiting[i]->state == SequenceState::kWaiting);
    M2_CHECK(waiting[i]->slot == -1 && waiting[i]->num_blocks == 0 && waiting[i]->computed == 0);
    M2_CHECK(i == 0 || waiting[i]->rank < waiting[i - 1]->rank);
  }
  kv_.check_invariants(running_);
}

}  // namespace m2
