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
Scheduler::Budget Scheduler::prefill_budget() const {
  int32_t decodes = 0;
  for (const Sequence* sequence : running_) decodes += sequence->uncomputed() == 1;
  const int32_t samples = capacity_.max_sample_rows - decodes;
  return {capacity_.max_step_tokens - decodes, samples,
          std::min(samples, (capacity_.max_sample_rows + 1) / 2)};
}

void Scheduler::spend(Budget& budget, const Sequence& sequence, int32_t tokens) const {
  budget.tokens -= tokens;
  budget.samples -= samples_in(sequence, tokens);
  budget.targets = std::min(budget.targets - targets_in(sequence, tokens), budget.samples);
  budget.used = true;
}

// How much of the sequence's uncomputed tokens this step may take; 0 when its turn comes later.
int32_t Scheduler::chunk_tokens(const Sequence& sequence, const Budget& budget) const {
  const int32_t wanted = sequence.uncomputed();
  int32_t tokens = std::min(wanted, budget.tokens);
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

// Sees to blocks for the next `tokens` tokens of the sequence at `place` in the running list, and
// returns how many of them got room. Others are preempted only where it would get on by nothing.
int32_t Scheduler::make_room(size_t place, int32_t tokens) {
  Sequence& sequence = *running_[place];
  if (tokens == 0) return 0;
  const int32_t missing = kv_.blocks_for(sequence.computed + tokens) - sequence.num_blocks;
  if (missing <= 0) return tokens;
  const int32_t block_tokens = capacity_.block_tokens;
  const bool stuck = sequence.num_blocks * block_tokens == sequence.computed;
  while (stuck && kv_.available() == 0 && preempt_after(place)) continue;
  const int64_t room =
      (int64_t{sequence.num_blocks} + kv_.available()) * block_tokens - sequence.computed;
  // A late one in order may find no room at all. It keeps its blocks and waits: those before it
  // will end, or take its blocks.
  tokens = static_cast<int32_t>(std::min<int64_t>(tokens, room));
  kv_.extend(sequence, sequence.computed + tokens);
  return tokens;
}

// Preempts the last in order behind `place`, but of no client that runs less than that one's: a
// newcomer that others gave way for would be the first to go. The first in order always finds one.
bool Scheduler::preempt_after(size_t place) {
  const Sequence& sequence = *running_[place];
  const int32_t own = share_.running(sequence.request.client);
  for (size_t last = running_.size() - 1; last > place; --last) {
    const Sequence& other = *running_[last];
    if (options_.share_by_client && other.rank.priority == sequence.rank.priority &&
        share_.running(other.request.client) < own) {
      continue;
    }
    preempt(last);
    return true;
  }
  return false;
}

// Takes the sequence at `place` off the running list, with its blocks and its slot.
void Scheduler::leave(size_t place) {
  Sequence& sequence = *running_[place];
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(place));
  share_.add_running(sequence.request.client, -1);
  kv_.release(sequence);
  free_slots_.push_back(sequence.slot);
  sequence.slot = -1;
}

// The sequence has no row in the step being planned: callers see to that by the order of things.
void Scheduler::preempt(size_t place) {
  Sequence& sequence = *running_[place];
  leave(place);
  sequence.computed = 0;
  sequence.history_sent = 0;
  wait(sequence);
  preempted_ = true;
  ++counters_.preemptions;
}

// The first in the queue waits for a slot or blocks.
// The sequence, next to start, was found to have no slot or too few blocks.
bool Scheduler::is_blocked(const Sequence& next) const {
  if (running_.size() >= max_running_) return true;
  return next.rank.arrival == blocked_arrival_ && blocked_releases_ == kv_.releases();
}

// Who is to start though there is no room: the first in the queue, unless a client that is short of
// its share stands behind it. That one may overtake, since its place is paid for by a client that
// runs more; and as urgent as the first it must be.
Sequence& Scheduler::next_without_room(int32_t most) const {
  Sequence& front = waiting_.front();
  if (!options_.share_by_client || !share_.leaves_behind(most)) return front;
  const std::span<Sequence* const> waiting = waiting_.sequences();
  for (size_t i = waiting.size(); i-- > 0;) {
    if (waiting[i]->rank.priority != front.rank.priority) break;
    if (share_.running(waiting[i]->request.client) + 2 <= most) return *waiting[i];
  }
  return front;
}

// Lets running sequences give way where the next has no room: less urgent ones, and those of the
// client that runs most, down to where it still runs no less than the next one's. The last in order
// go, as many as it takes, or none if all of them would not do.
void Scheduler::make_way() {
  if (waiting_.empty()) return;
  if (!is_blocked(next_ ? *next_ : waiting_.front())) return;
  const uint64_t busiest = share_.busiest();
  const int32_t most = options_.share_by_client ? share_.running(busiest) : 0;
  Sequence& next = next_ ? *next_ : next_without_room(most);
  int32_t may_give = most - share_.running(next.request.client) - 1;
  int32_t missing = kv_.blocks_for(next.known()) + promised_blocks() - kv_.available();
  bool slot = running_.size() < max_running_;
  giving_way_.clear();
  for (size_t place = running_.size(); place-- > 0 && (missing > 0 || !slot);) {
    const Sequence& sequence = *running_[place];
    if (sequence.rank.priority < next.rank.priority) break;
    if (sequence.uncomputed() == 0) continue;  // about to end by itself
    if (sequence.rank.priority == next.rank.priority) {
      if (sequence.request.client != busiest || may_give <= 0) continue;
      --may_give;
    }
    missing -= std::max(sequence.num_blocks, kv_.blocks_for(sequence.length()));
    slot = true;
    giving_way_.push_back(place);
  }
  if (missing > 0 || !slot) return;
  for (const size_t place : giving_way_) preempt(place);  // from the last on: places stay right
  next_ = &next;
}

// Blocks that the running sequences still need for the tokens they have.
int32_t Scheduler::promised_blocks() const {
  int32_t blocks = 0;
  for (const Sequence* sequence : running_) {
    blocks += std::max(0, kv_.blocks_for(sequence->length()) - sequence->num_blocks);
  }
  return blocks;
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
  stop_waiting(sequence);
  sequence.state = SequenceState::kRunning;
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  kv_.adopt(sequence, match);
  kv_.extend(sequence, sequence.computed + tokens);
  const auto by_rank = [](const Sequence* other) { return other->rank; };
  running_.insert(std::ranges::upper_bound(running_, sequence.rank, {}, by_rank), &sequence);
  share_.add_running(sequence.request.client, 1);
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
