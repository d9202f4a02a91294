// Decides what each step computes: which sequences run, how many tokens of each, in which blocks.
//
// Policy: every running sequence that can decode does; prefill chunks share what is left of the
// step's tokens; then waiting sequences start, in order, while slots and blocks last. When blocks
// run out, the last sequence in order is preempted: it loses its blocks and is computed again
// later, mostly from the prefix cache. The first in order always gets on, so all of them finish.
// Where the next has no room, less urgent ones give way, and those of a client that runs more than
// its share.
//
// Planning needs lengths, never token values; it runs one step ahead of the tokens.
//
// Thread-safety: one owner. Nothing allocates on an ordinary step.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/executor.h"
#include "engine/fair_share.h"
#include "engine/kv_blocks.h"
#include "engine/options.h"
#include "engine/prefill_share.h"
#include "engine/sequence.h"
#include "engine/step.h"
#include "engine/waiting_queue.h"

namespace m2 {

class Scheduler {
 public:
  Scheduler(const Capacity& capacity, const EngineOptions& options);

  // Queues the sequence, which outlives its rows_in_flight.
  void add(Sequence& sequence);
  // Ends a sequence: blocks and slot are free at once.
  void finish(Sequence& sequence);

  // Fills `step`, empty when there is nothing to compute.
  void plan(Step& step);

  // A draw's token is known and appended; its sequence may go on.
  void token_known(Sequence& sequence) {
    if (sequence.state == SequenceState::kRunning) kv_.hold_full_blocks(sequence);
  }
  // A draw gave no token: its last token is computed again by a later step.
  void repeat_last_token(Sequence& sequence);

  bool has_work() const { return !running_.empty() || !waiting_.empty(); }
  size_t running() const { return running_.size(); }
  size_t waiting() const { return waiting_.size(); }
  int32_t blocks_used() const { return kv_.total() - kv_.available(); }

  struct Counters {
    int64_t started_requests = 0, prompt_tokens = 0;
    int64_t prefix_queries = 0, prefix_hits = 0;  // tokens
    int64_t preemptions = 0;
  };
  const Counters& counters() const { return counters_; }

  void check_invariants() const;

 private:
  // What is left of a step for prefill.
  struct Budget {
    int32_t tokens = 0, samples = 0;
    int32_t targets = 0;  // of the samples, those that prompt logprobs may take
    bool used = false;    // some prefill has its share already
  };
  struct Chunk {
    Sequence* sequence;
    int32_t tokens;
  };

  Budget prefill_budget();
  void share_prefill(const Budget& budget);
  int32_t promised_blocks() const;
  int32_t chunk_tokens(const Sequence& sequence, const Budget& budget) const;
  int32_t make_room(size_t place, int32_t tokens);
  void wait(Sequence& sequence);
  void stop_waiting(Sequence& sequence);
  void leave(size_t place);
  void preempt(size_t place);
  bool preempt_after(size_t place);
  bool is_blocked(const Sequence& next) const;
  Sequence& next_without_room(int32_t most) const;
  void make_way();
  void admit(Step& step, Budget& budget);
  bool start(Step& step, Sequence& sequence, Budget& budget);
  void note_start(Sequence& sequence);
  void add_row(Step& step, Sequence& sequence, int32_t tokens);
  void spend(Budget& budget, const Sequence& sequence, int32_t tokens);

  const Capacity capacity_;
  const EngineOptions options_;
  const size_t max_running_;
  KvBlocks kv_;
  FairShare share_;
  PrefillShare prefill_share_;  // of the step being planned; unused without shares
  WaitingQueue waiting_;
  std::vector<Sequence*> running_;   // in order of rank
  std::vector<int32_t> free_slots_;  // the next one last
  std::vector<Chunk> chunks_;        // prefill of running sequences in the step being planned
  uint64_t step_number_ = 0;
  uint64_t next_arrival_ = 0;
  bool preempted_ = false;    // in the step being planned
  Sequence* next_ = nullptr;  // waiting; others gave way for it, so it starts before any other
  std::vector<size_t> giving_way_;  // places in running_, for make_way() alone
  // The sequence that did not fit, and when: it is looked at again once blocks were released.
  uint64_t blocked_arrival_ = UINT64_MAX;
  uint64_t blocked_releases_ = 0;
  Counters counters_;
};

}  // namespace m2
