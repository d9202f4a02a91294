#include "backend/cuda/sample_queue.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace m2 {
namespace {

using cuda::HistoryItem;
using cuda::SampleResult;
using cuda::SampleRow;

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

bool has_list(const SampleRequest& r) {
  return !r.allowed.empty() || !r.banned.empty() || r.mask != nullptr;
}

size_t mask_words(int32_t vocab) { return static_cast<size_t>(vocab + 31) / 32; }

template <typename T>
int32_t append(std::span<const T> from, T* to, size_t& used) {
  std::copy(from.begin(), from.end(), to + used);
  used += from.size();
  return static_cast<int32_t>(used - from.size());
}

}  // namespace

// Room for what all rows together usually want, and for any one request at its largest.
SampleQueue::Sizes SampleQueue::sizes_for(const OpsLimits& limits, int32_t vocab) {
  const size_t rows = limits.max_sample_rows;
  const size_t largest = limits.max_model_tokens + 4 * static_cast<size_t>(vocab);
  return {.rows = rows,
          .history = rows,
          .ints = largest + rows * (mask_words(vocab) + 64),
          .tops = 2 * static_cast<size_t>(vocab) + rows * 64};
}

size_t SampleQueue::bytes(const OpsLimits& limits, int32_t vocab) {
  const Sizes sizes = sizes_for(limits, vocab);
  return sizes.rows * sizeof(SampleRow) + sizes.history * sizeof(HistoryItem) + sizes.ints * 8 +
         sizes.tops * 8 + size_t{6} * 256;
}

SampleQueue::SampleQueue(const OpsLimits& limits, int32_t vocab, const cuda::SampleArgs& device)
    : limits_(limits), vocab_(vocab), sizes_(sizes_for(limits, vocab)), device_(device) {}

size_t SampleQueue::upload_bytes() const {
  return aligned(sizes_.rows * sizeof(SampleRow)) + aligned(sizes_.history * sizeof(HistoryItem)) +
         2 * aligned(sizes_.ints * 4);
}

Result<std::unique_ptr<SampleQueue>> SampleQueue::make(const OpsLimits& limits, int32_t vocab,
                                                       const cuda::SampleArgs& device) {
  std::unique_ptr<SampleQueue> queue(new SampleQueue(limits, vocab, device));
  const size_t results = aligned(queue->sizes_.rows * sizeof(SampleResult));
  const size_t tops = aligned(queue->sizes_.tops * 4);
  M2_ASSIGN(queue->upload_, Upload::make(queue->upload_bytes()));
  queue->result_bytes_ = results;
  M2_ASSIGN(queue->tops_, DeviceMemory::make(2 * tops, "logprobs"));
  for (Pending& pending : queue->pending_) {
    M2_ASSIGN(pending.results, PinnedMemory::make(results + 2 * tops));
    M2_ASSIGN(pending.done, Event::make());
  }
  queue->device_.top_ids = reinterpret_cast<int32_t*>(queue->tops_.data());
  queue->device_.top_logprobs = reinterpret_cast<float*>(queue->tops_.data() + tops);
  return queue;
}

SampleQueue::Part SampleQueue::part_at(std::byte* base) const {
  Part part{};
  part.rows = reinterpret_cast<SampleRow*>(base);
  base += aligned(sizes_.rows * sizeof(SampleRow));
  part.history = reinterpret_cast<HistoryItem*>(base);
  base += aligned(sizes_.history * sizeof(HistoryItem));
  part.ints = reinterpret_cast<int32_t*>(base);
  part.floats = reinterpret_cast<float*>(base + aligned(sizes_.ints * 4));
  return part;
}

int32_t SampleQueue::top_count(const SampleRequest& r) const {
  if (r.num_logprobs < 0) return 0;
  return std::min(r.num_logprobs, limits_.real_vocab) + static_cast<int32_t>(r.logprob_ids.size());
}

SampleQueue::Sizes SampleQueue::needs(const SampleRequest& r) const {
  const bool history = r.history_reset || !r.history.empty();
  return {.rows = 1,
          .history = history ? size_t{1} : 0,
          .ints = r.history.size() + r.bias_ids.size() + r.logprob_ids.size() +
                  (has_list(r) ? mask_words(vocab_) : 0),
          .tops = static_cast<size_t>(top_count(r))};
}

bool SampleQueue::fits(const Part& part, const Sizes& more) const {
  return part.used.rows + more.rows <= sizes_.rows &&
         part.used.history + more.history <= sizes_.history &&
         part.used.ints + more.ints <= sizes_.ints && part.used.tops + more.tops <= sizes_.tops;
}

// The allowed ids, the mask and the banned ids are one mask to the device.
void SampleQueue::add_mask(const SampleRequest& r, Part& part, SampleRow& row) const {
  const size_t words = mask_words(vocab_);
  auto* bits = reinterpret_cast<uint32_t*>(part.ints + part.used.ints);
  row.mask_begin = static_cast<int32_t>(part.used.ints);
  part.used.ints += words;
  const auto known = [&](int32_t id) { return id >= 0 && id < limits_.real_vocab; };
  std::memset(bits, r.allowed.empty() ? 0xff : 0, words * 4);
  for (const int32_t id : r.allowed) {
    if (known(id)) bits[id / 32] |= 1u << (id % 32);
  }
  for (size_t i = 0; r.mask != nullptr && i < words; ++i) bits[i] &= r.mask[i];
  for (const int32_t id : r.banned) {
    if (known(id)) bits[id / 32] &= ~(1u << (id % 32));
  }
}

void SampleQueue::add(const SampleRequest& r, Part& part) const {
  SampleRow& row = part.rows[part.used.rows++];
  row = {};
  row.slot = r.slot;
  row.position = r.position;
  row.target = r.target;
  row.draw = r.draw;
  row.penalise = r.repetition_penalty != 1 || r.presence_penalty != 0 || r.frequency_penalty != 0;
  row.num_top = r.num_logprobs < 0 ? -1 : std::min(r.num_logprobs, limits_.real_vocab);
  row.top_k = r.top_k;
  row.temperature = r.temperature;
  row.top_p = r.top_p;
  row.min_p = r.min_p;
  row.repetition_penalty = r.repetition_penalty;
  row.presence_penalty = r.presence_penalty;
  row.frequency_penalty = r.frequency_penalty;
  row.seed = r.seed;
  row.top_begin = static_cast<int32_t>(part.used.tops);
  part.used.tops += top_count(r);
  if (r.history_reset || !r.history.empty()) {
    const int32_t begin = append(r.history, part.ints, part.used.ints);
    part.history[part.used.history++] = {r.slot, begin, static_cast<int32_t>(r.history.size()),
                                         r.history_prompt, r.history_reset};
  }
  row.bias_count = static_cast<int32_t>(r.bias_ids.size());
  std::copy(r.bias_values.begin(), r.bias_values.end(), part.floats + part.used.ints);
  row.bias_begin = append(r.bias_ids, part.ints, part.used.ints);
  row.logprob_ids_count = r.num_logprobs < 0 ? 0 : static_cast<int32_t>(r.logprob_ids.size());
  row.logprob_ids_begin = append(r.logprob_ids, part.ints, part.used.ints);
  if (has_list(r)) add_mask(r, part, row);
}

Status SampleQueue::send(Part& part, Pending& pending, uint16_t* counts, const cuda::Queue& queue) {
  const Part device = part_at(upload_.device());
  // Only rows with a bias have floats, at the places of their ints.
  const bool floats = std::any_of(part.rows, part.rows + part.used.rows,
                                  [](const SampleRow& row) { return row.bias_count > 0; });
  upload_.use(part.rows, part.used.rows);
  upload_.use(part.history, part.used.history);
  upload_.use(part.ints, part.used.ints);
  upload_.use(part.floats, floats ? part.used.ints : 0);
  M2_TRY(cuda_status(upload_.send(queue), "sample requests"));
  cuda::launch_history({.items = device.history,
                        .num_items = static_cast<int32_t>(part.used.history),
                        .ints = device.ints,
                        .vocab = vocab_,
                        .counts = counts},
                       queue);
  cuda::SampleArgs args = device_;
  // The kernel writes the few bytes of a row to the host itself.
  args.results = reinterpret_cast<SampleResult*>(pending.results.data());
  args.rows = device.rows;
  args.num_rows = static_cast<int32_t>(part.used.rows);
  args.logits += pending.begin_row * args.stride;
  args.work += pending.begin_row * args.stride;
  args.ints = device.ints;
  args.floats = device.floats;
  args.counts = counts;
  cuda::launch_sample(args, queue);
  M2_TRY(cuda_status(cudaPeekAtLastError(), "sample kernel"));

  const auto fetch = [&](const void* from, size_t bytes) {
    const size_t offset = static_cast<const std::byte*>(from) - tops_.data();
    return cuda_status(cudaMemcpyAsync(pending.results.data() + result_bytes_ + offset, from, bytes,
                                       cudaMemcpyDeviceToHost, queue.stream),
                       "logprobs");
  };
  if (part.used.tops > 0) {
    M2_TRY(fetch(args.top_ids, part.used.tops * 4));
    M2_TRY(fetch(args.top_logprobs, part.used.tops * 4));
  }
  pending.part_rows = part.used.rows;
  pending.part_tops = part.used.tops;
  return cuda_status(pending.done.record(queue.stream), "event");
}

// Waits for a part and moves its results to the output.
Status SampleQueue::finish_part(Pending& pending) {
  M2_TRY(cuda_status(pending.done.wait(), "a step's kernels"));
  const std::byte* host = pending.results.data();
  const auto tops_at = [&](const auto* device) {
    using T = std::remove_reference_t<decltype(*device)>;
    const auto offset = reinterpret_cast<const std::byte*>(device) - tops_.data();
    return reinterpret_cast<const T*>(host + result_bytes_ + offset);
  };
  const auto* results = reinterpret_cast<const SampleResult*>(host);
  for (size_t i = 0; i < pending.part_rows; ++i) {
    SampledToken& row = pending.output.rows[pending.begin_row + i];
    row.token = results[i].token;
    row.rank = results[i].rank;
    row.logprob = results[i].logprob;
  }
  std::copy_n(tops_at(device_.top_ids), pending.part_tops,
              pending.output.top_ids.begin() + pending.begin_top);
  std::copy_n(tops_at(device_.top_logprobs), pending.part_tops,
              pending.output.top_logprobs.begin() + pending.begin_top);
  pending.begin_row += pending.part_rows;
  pending.begin_top += pending.part_tops;
  return {};
}

Status SampleQueue::push(std::span<const SampleRequest> requests, uint16_t* counts,
                         const cuda::Queue& queue) {
  M2_CHECK(count_ < kDepth, "{} samplings are under way", count_);
  Pending& pending = pending_[(first_ + count_++) % kDepth];
  pending.output.clear();
  pending.begin_row = pending.begin_top = pending.part_rows = pending.part_tops = 0;
  int32_t top = 0;
  for (const SampleRequest& request : requests) {
    SampledToken& row = pending.output.rows.emplace_back();
    row.top_begin = top;
    row.top_count = top_count(request);
    top += row.top_count;
  }
  pending.output.top_ids.resize(top);
  pending.output.top_logprobs.resize(top);
  if (requests.empty()) return cuda_status(pending.done.record(queue.stream), "event");

  // The block of the push before the last, or of a part before: both have been waited for, since a
  // part's event lies behind the push before too.
  Part part = part_at(upload_.begin());
  for (const SampleRequest& request : requests) {
    const Sizes more = needs(request);
    if (!fits(part, more)) {
      if (part.used.rows > 0) {
        M2_TRY(send(part, pending, counts, queue));
        M2_TRY(finish_part(pending));
        part = part_at(upload_.begin());
      }
      if (!fits(part, more)) {
        return fail(ErrorKind::kInternal, "", "a sample request's lists of {} ids do not fit",
                    more.ints + more.tops);
      }
    }
    add(request, part);
  }
  return send(part, pending, counts, queue);
}

Status SampleQueue::pop(SampleOutput& output) {
  M2_CHECK(count_ > 0, "nothing was sampled");
  Pending& pending = pending_[first_];
  first_ = (first_ + 1) % kDepth;
  --count_;
  M2_TRY(finish_part(pending));
  std::swap(output, pending.output);
  return {};
}

}  // namespace m2
