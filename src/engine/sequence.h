// One request while the engine works on it.
//
// A sequence's length counts two kinds of tokens: those the host knows, and draws that are planned
// but whose tokens have not come back yet. The scheduler plans with lengths alone; that is why it
// can run one step ahead of the tokens.
//
// Thread-safety: built by the thread that submits, owned by the engine thread from then on.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "engine/output.h"
#include "engine/prefix_cache.h"
#include "engine/request.h"

namespace m2 {

enum class SequenceState : uint8_t {
  kWaiting,   // in the waiting queue: no slot, no blocks
  kRunning,   // in the scheduler's running list: a slot, and blocks for what is computed
  kFinished,  // in neither; rows of it may still be on the device
};

// Who goes first: the lower priority value, then the earlier turn, then the earlier arrival.
struct SequenceRank {
  int32_t priority = 0;  // 0 for all under fcfs
  uint64_t turn = 0;     // of the client (engine/fair_share.h); 0 for all without shares
  uint64_t arrival = 0;  // unique
  auto operator<=>(const SequenceRank&) const = default;
};

struct Sequence {
  // Bounds are the submitter's to check. All the memory that its tokens will ever need is set aside
  // here, on the submitter's thread, so that no step allocates; untouched pages of it cost nothing.
  Sequence(Request submitted, int32_t max_model_tokens);

  // Constant once queued.
  Request request;  // without its prompt, which `tokens` begins with
  SequenceRank rank;
  int32_t prompt_tokens = 0;
  int32_t most_tokens = 0;  // prompt and output; ends the sequence with kLength
  bool has_penalties = false;
  bool ends_only = false;  // the allowed ids are end tokens all: min_tokens cannot ban them

  // How far it is.
  SequenceState state = SequenceState::kWaiting;
  bool started = false;         // it was given a slot once
  std::vector<TokenId> tokens;  // prompt and output, as far as the host knows them
  int32_t draws_in_flight = 0;  // planned draws without a token: 0 … 2
  int32_t rows_in_flight = 0;   // rows on the device that refer to it; it may not die before them
  int32_t computed = 0;         // tokens whose keys and values are in its blocks, or queued to be
  int32_t history_sent = 0;     // tokens that the device's penalty history of its slot holds
  int32_t next_prompt_target = 1;  // the next prompt position whose logprobs are to be planned

  // Its KV memory, while it runs (engine/kv_blocks.h).
  int32_t slot = -1;
  int32_t num_blocks = 0;
  int32_t hashed_blocks = 0;  // leading full blocks that the prefix cache has been offered
  BlockKey chain_key;         // of the last of them

  // What was told of it (engine/output_batch.h).
  int32_t cached_tokens = -1;  // found in the prefix cache at its first start
  bool cached_told = false;    // that number was published
  int32_t output_place = 0;    // of its output in the current batch
  uint64_t output_batch = 0;   // which batch that is

  int32_t known() const { return static_cast<int32_t>(tokens.size()); }
  int32_t length() const { return known() + draws_in_flight; }
  int32_t generated() const { return known() - prompt_tokens; }
  // Tokens that a step must compute before the next draw; 0 when the draws in flight are its last.
  int32_t uncomputed() const { return length() >= most_tokens ? 0 : length() - computed; }
  bool wants_prompt_logprobs() const { return request.prompt_logprobs >= 0; }
};

bool is_end_token(const StopParams& stop, TokenId token);  // that ends this request
// Why the sequence ends with its newest token; kNone if it goes on.
FinishReason finish_reason(const Sequence& sequence);

}  // namespace m2
