// From rows of logits to tokens and logprobs, wholly on the device: the same order of steps, ties
// and draws as the CPU's sampler. Nothing is sorted but the few best of a row.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// A request of model/batch.h. Lists are ranges of SampleArgs::ints and floats.
struct SampleRow {
  int32_t slot = 0, position = 0, target = -1;
  bool draw = true, penalise = false;
  int32_t num_top = -1;  // -1: no logprobs
  int32_t top_k = 0;
  float temperature = 1, top_p = 1, min_p = 0;
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  uint64_t seed = 0;
  int32_t bias_begin = 0, bias_count = 0;  // ids in ints, values at the same places of floats
  int32_t logprob_ids_begin = 0, logprob_ids_count = 0;
  int32_t mask_begin = -1;  // bits that may be drawn, in ints; -1: all
  int32_t top_begin = 0;    // into SampleArgs::top_ids
};

struct SampleResult {
  int32_t token, rank;
  float logprob;
};

// Moves 4 * vocab bytes a row a few times: once for greedy, some 4 times for top_k.
struct SampleArgs {
  const SampleRow* rows = nullptr;  // [num_rows]
  int32_t num_rows = 0;
  const float* logits = nullptr;  // [num_rows, stride]
  int32_t stride = 0, real_vocab = 0, vocab = 0;
  const int32_t* ints = nullptr;
  const float* floats = nullptr;
  const uint16_t* counts = nullptr;  // [slots, vocab], as history.cuh keeps them
  float* work = nullptr;             // [num_rows, stride]
  int32_t* last_token = nullptr;     // [slots]
  SampleResult* results = nullptr;   // [num_rows] pinned: the host reads them there
  int32_t* top_ids = nullptr;
  float* top_logprobs = nullptr;
};
void launch_sample(const SampleArgs& args, const Queue& queue);

// What slots have said so far, for the penalties: a 16-bit count a token, with the highest bit for
// "in the prompt".
struct HistoryItem {
  int32_t slot = 0, begin = 0, count = 0, num_prompt = 0;
  bool reset = false;
};
struct HistoryArgs {
  const HistoryItem* items = nullptr;  // [num_items] several of a slot take effect in order
  int32_t num_items = 0;
  const int32_t* ints = nullptr;  // the items' tokens
  int32_t vocab = 0;
  uint16_t* counts = nullptr;  // [slots, vocab]
};
void launch_history(const HistoryArgs& args, const Queue& queue);

}  // namespace m2::cuda
