// How the scheduler makes room: blocks for who runs, and a place for who is next where all is
// taken.
#include <algorithm>

#include "base/check.h"
#include "engine/scheduler.h"

namespace m2 {

// Blocks that the running sequences still need for the tokens they have.
int32_t Scheduler::promised_blocks() const {
  int32_t blocks = 0;
  for (const Sequence* sequence : running_) {
    blocks += std::max(0, kv_.blocks_for(sequence->length()) - sequence->num_blocks);
  }
  return blocks;
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
  wait(sequence);
  leave(place);
  sequence.computed = 0;
  sequence.history_sent = 0;
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

}  // namespace m2
