#include "backend/cuda/cuda_ops.h"

#include <algorithm>
#include <utility>

#include "backend/cuda/portable/attention.cuh"
#include "backend/cuda/portable/probe.cuh"
#include "base/check.h"

namespace m2 {

using cuda::LinearKind;

// Threads come and go between construction and use; the current device is a thread's own.
void CudaOps::activate() { note(cudaSetDevice(device_), "cudaSetDevice"); }

void CudaOps::note(cudaError_t error, const char* what) {
  if (error != cudaSuccess && error_) error_ = cuda_status(error, what);
}

void CudaOps::begin_step(const Batch& batch) {
  activate();
  end_ops();  // of a step whose logits nobody wanted
  real_tokens_ = static_cast<int32_t>(batch.tokens.size());
  const auto rows = static_cast<int32_t>(batch.rows.size());
  M2_CHECK(real_tokens_ <= limits_.max_step_tokens && rows <= limits_.max_sequences);
  free_upload();
  const StepUpload host = StepUpload::at(step_upload_.begin(), limits_, group(), largest());
  *host.num_tokens = real_tokens_;
  std::copy(batch.tokens.begin(), batch.tokens.end(), host.tokens);
  int32_t num_blocks = 0;
  for (int32_t r = 0; r < rows; ++r) {
    const BatchRow& row = batch.rows[r];
    host.rows[r] = {row.slot, row.first_token, row.num_tokens, row.context_tokens, num_blocks};
    const int32_t length = row.context_tokens + row.num_tokens;
    const int32_t used = cuda::divide_up(length, limits_.block_tokens);
    M2_CHECK(used <= std::ssize(row.blocks) && length <= limits_.max_model_tokens);
    for (int32_t i = 0; i < used; ++i) {
      M2_CHECK(row.blocks[i] >= 0 && row.blocks[i] < limits_.num_blocks);
      host.blocks[num_blocks++] = row.blocks[i];
    }
    for (int32_t i = 0; i < row.num_tokens; ++i) {
      host.token_row[row.first_token + i] = r;
      host.position[row.first_token + i] = row.context_tokens + i;
    }
  }
  const bool decode = rows > 0 && rows == real_tokens_;
  tokens_ = graphs_.padded(real_tokens_);
  alone_ = decode && rows_are_apart(batch);
  single_ = decode && tokens_ == 1 && serves_single_;
  fused_ = alone_ && tokens_ <= cuda::kMostSingleTokens && serves_single_;
  if (tokens_ > real_tokens_) {
    pad(host, rows, num_blocks, decode);
    ++num_blocks;
  }
  plan_attention(decode ? tokens_ : rows, host);
  const int32_t used_rows = decode ? tokens_ : rows + (tokens_ > real_tokens_ ? 1 : 0);
  step_upload_.use(host.num_tokens, 1);
  step_upload_.use(host.tokens, tokens_);
  step_upload_.use(host.token_row, tokens_);
  step_upload_.use(host.position, tokens_);
  step_upload_.use(host.rows, used_rows);
  step_upload_.use(host.decode_rows, num_decode_rows_);
  step_upload_.use(host.items, num_items_);
  step_upload_.use(host.blocks, num_blocks);
  note(step_upload_.send(queue(KernelName::kEmbed, -1)), "a step's inputs");
  if (error_ && (alone_ || !decode)) note(graphs_.begin(tokens_, decode, stream_));
}

// Waits until what the step before the last brought has been read: its block is filled next. That
// is known by the event behind its sampling; one more would lie between two steps.
void CudaOps::free_upload() {
  if (!has_samples_) {
    note(unsampled_[parity_].record(stream_), "event");
    step_done_[parity_] = &unsampled_[parity_];
  }
  parity_ ^= 1;
  if (step_done_[parity_] != nullptr) {
    note(step_done_[parity_]->wait(), "the step before the last");
  }
  has_samples_ = has_sampled_rows_ = false;
}

// Whether no row of a decode step reads a block that another one stores into: when a prompt's last
// token fills a block, its twin may read it in the same step.
bool CudaOps::rows_are_apart(const Batch& batch) {
  ++stamp_;
  const auto stored = [&](const BatchRow& row) {
    return row.context_tokens / limits_.block_tokens;
  };
  for (const BatchRow& row : batch.rows) block_stamp_[row.blocks[stored(row)]] = stamp_;
  for (const BatchRow& row : batch.rows) {
    for (int32_t i = 0; i < stored(row); ++i) {
      if (block_stamp_[row.blocks[i]] == stamp_) return false;
    }
  }
  return true;
}

// Padding: tokens without context, which are stored to a block of their own and go to no expert. In
// decode steps they are rows, as attention's launch counts those; otherwise one row that attention
// leaves out.
void CudaOps::pad(const StepUpload& host, int32_t rows, int32_t num_blocks, bool decode) {
  host.blocks[num_blocks] = limits_.num_blocks;
  host.rows[rows] = {0, real_tokens_, 1, 0, num_blocks};
  for (int32_t i = real_tokens_; i < tokens_; ++i) {
    host.tokens[i] = host.position[i] = 0;
    host.token_row[i] = decode ? i : rows;
    if (decode) host.rows[i] = {0, i, 1, 0, num_blocks};
  }
}

void CudaOps::plan_attention(int32_t rows, const StepUpload& host) {
  num_items_ = num_decode_rows_ = 0;
  for (int32_t r = 0; r < rows; ++r) {
    if (host.rows[r].num_tokens == 1) {
      host.decode_rows[num_decode_rows_++] = r;
      continue;
    }
    const int32_t queries = host.rows[r].num_tokens * group();
    for (int32_t first = 0; first < queries; first += cuda::kItemQueries) {
      host.items[num_items_++] = {r, first};
    }
  }
}

void CudaOps::head(std::span<const SampleRequest> requests, const float* weight,
                   const Matrix& lm_head) {
  activate();
  end_ops();
  sample_rows_ = static_cast<int32_t>(requests.size());
  M2_CHECK(sample_rows_ <= limits_.max_sample_rows);
  if (sample_rows_ == 0) return;
  for (const SampleRequest& request : requests) {
    M2_CHECK(request.token_index >= 0 && request.token_index < real_tokens_);
  }
  has_samples_ = false;  // those of an earlier head of the step do not tell of this one's end
  const cuda::Queue norm_queue = queue(KernelName::kFinalNorm, -1);
  bring_sampled_rows(requests, norm_queue);
  cuda::NormArgs norm = norm_args(weight, sampled_);
  norm.index = reinterpret_cast<const int32_t*>(head_upload_.device());
  norm.rows = sample_rows_;
  norm.f16 = lm_head.dtype == DType::kF8E4M3;
  norm.sums = take_sums();
  sums_pending_ = norm.sums.y != nullptr;  // the residual is left as it is
  cuda::launch_norm(norm, norm_queue);
  linear(LinearKind::kStore, lm_head, sampled_, sample_rows_, logits_,
         static_cast<int32_t>(shard_.vocab_count), queue(KernelName::kLmHead, -1));
  note("lm_head");
}

// Most steps want the rows that the one before did.
void CudaOps::bring_sampled_rows(std::span<const SampleRequest> requests,
                                 const cuda::Queue& queue) {
  const auto is = [](const SampleRequest& request, int32_t row) {
    return request.token_index == row;
  };
  if (requests.size() <= sampled_rows_.size() &&
      std::equal(requests.begin(), requests.end(), sampled_rows_.begin(), is)) {
    return;
  }
  // Once a step; where it is more often, the block to be filled may not have been read.
  if (std::exchange(has_sampled_rows_, true)) {
    note(cudaStreamSynchronize(stream_), "the head before");
  }
  sampled_rows_.clear();
  for (const SampleRequest& request : requests) sampled_rows_.push_back(request.token_index);
  auto* rows = reinterpret_cast<int32_t*>(head_upload_.begin());
  std::copy(sampled_rows_.begin(), sampled_rows_.end(), rows);
  head_upload_.use(rows, sampled_rows_.size());
  note(head_upload_.send(queue), "sample rows");
}

void CudaOps::sample(std::span<const SampleRequest> requests, Communicator&) {
  activate();
  const Status pushed = samples_->push(requests, reinterpret_cast<uint16_t*>(counts_memory_.data()),
                                       queue(KernelName::kSample, -1));
  if (!pushed) {
    if (error_) error_ = pushed;
    return;
  }
  if (stamps_.notes()) cuda::launch_mark(queue(KernelName::kEnd, -1));
  has_samples_ = true;
  step_done_[parity_] = &samples_->last_done();
}

Status CudaOps::collect(SampleOutput& output) {
  activate();
  end_ops();
  const Status popped = samples_->pop(output);
  return named(error_ ? popped : error_);
}

// A fault shows at whatever call comes next: what the device began last is nearer to its cause.
Status CudaOps::named(Status status) const {
  if (status) return status;
  const std::string last = mark_.last();
  if (!last.empty()) status.error().message += fmt::format("; the kernel begun last: {}", last);
  return status;
}

std::vector<KernelTime> CudaOps::kernel_times() {
  activate();
  if (!stamps_.notes()) return {};
  note(cudaStreamSynchronize(stream_), "a step's kernels");
  return stamps_.take();
}

Status CudaOps::read_logits(std::span<float> logits) {
  activate();
  const size_t count = size_t(sample_rows_) * shard_.vocab_count;
  M2_CHECK(logits.size() >= count);
  note(cudaMemcpyAsync(logits.data(), logits_, count * sizeof(float), cudaMemcpyDeviceToHost,
                       stream_),
       "cudaMemcpy");
  note(cudaStreamSynchronize(stream_), "a step's kernels");
  return named(error_);
}

}  // namespace m2
