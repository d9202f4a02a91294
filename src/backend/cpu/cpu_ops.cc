#include "backend/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/router.h"
#include "base/check.h"
#include "base/divide_up.h"
#include "parallel/communicator.h"

namespace m2 {
namespace {

// A loop of fewer multiply-adds than this runs on the caller: a hand-over costs as much.
constexpr int64_t kSerialWork = 32768;

// The consecutive rows of a matrix of activations, as the kernels take them.
struct RowPointers {
  RowPointers(const float* x, int64_t stride, int64_t begin, int64_t count) {
    for (int64_t i = 0; i < count; ++i) pointers[i] = x + (begin + i) * stride;
  }
  const float* pointers[kTokenBlock] = {};
};

}  // namespace

void CpuOps::begin_step(const Batch& batch) {
  batch_ = batch;
  tokens_ = static_cast<int64_t>(batch.tokens.size());
  M2_CHECK(tokens_ <= limits_.max_step_tokens && std::ssize(batch.rows) <= limits_.max_sequences);
  const int64_t half = config_.rotary_dim / 2;
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    const BatchRow& row = batch.rows[r];
    for (int32_t i = 0; i < row.num_tokens; ++i) {
      const int64_t token = row.first_token + i;
      token_row_[token] = static_cast<int32_t>(r);
      position_[token] = row.context_tokens + i;
    }
  }
  // As the reference: the angle is a product of floats, its cosine exact.
  pool_.for_each(divide_up(tokens_, 16), [&](int64_t item, int32_t) {
    for (int64_t t = item * 16; t < std::min(tokens_, item * 16 + 16); ++t) {
      for (int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position_[t]) * inverse_frequency_[i];
        cos_[t * half + i] = static_cast<float>(std::cos(double{angle}));
        sin_[t * half + i] = static_cast<float>(std::sin(double{angle}));
      }
    }
  });
  plan_attention();
}

void CpuOps::embed(const Matrix& embed, Communicator& communicator) {
  const int64_t width = config_.hidden_size;
  for (int64_t t = 0; t < tokens_; ++t) {
    int64_t id = batch_.tokens[t];
    if (id == kLastToken) id = last_token_[batch_.rows[token_row_[t]].slot];
    id -= shard_.vocab_begin;
    float* out = hidden_ + t * width;
    if (id < 0 || id >= shard_.vocab_count) {  // another rank's row
      std::fill_n(out, width, 0.0f);
      continue;
    }
    const bf16_t* row = static_cast<const bf16_t*>(embed.data) + id * width;
    for (int64_t i = 0; i < width; ++i) out[i] = bf16_to_float(row[i]);
  }
  if (shard_.size > 1) communicator.all_reduce_sum(hidden_, tokens_ * width);
}

void CpuOps::norm_rows(const float* norm, float* out) {
  const int64_t width = config_.hidden_size;
  constexpr int64_t kTokensAnItem = 4;
  pool_.for_each(divide_up(tokens_, kTokensAnItem), [&](int64_t item, int32_t) {
    const int64_t end = std::min(tokens_, (item + 1) * kTokensAnItem);
    for (int64_t t = item * kTokensAnItem; t < end; ++t)
      norm_row(hidden_ + t * width, norm, out + t * width);
  });
}

void CpuOps::norm_row(const float* x, const float* norm, float* out) const {
  const int64_t width = config_.hidden_size;
  const float mean = kernels_.sum_of_squares(x, width) / static_cast<float>(width);
  const float factor = kernels_.input_scale / std::sqrt(mean + config_.rms_norm_eps);
  kernels_.scale(x, factor, norm, width, out);
}

void CpuOps::project(const Matrix& w, const float* x, int64_t tokens, float* out,
                     int64_t out_stride) {
  if (w.rows == 0) return;  // the last ranks' slice of a small vocabulary
  const bool serial = w.rows * w.columns * tokens < kSerialWork;
  const int64_t rows = serial ? w.rows : rows_an_item(w.rows, pool_.threads());
  const int64_t row_items = divide_up(w.rows, rows);
  const int64_t token_items = divide_up(tokens, kTokenBlock);
  const auto body = [&](int64_t item, int32_t thread) {
    const int64_t row = item % row_items * rows, token = item / row_items * kTokenBlock;
    const int64_t count = std::min<int64_t>(kTokenBlock, tokens - token);
    const RowPointers in(x, w.columns, token, count);
    kernels_.matmul(w, row, std::min(w.rows, row + rows), in.pointers, count,
                    out + token * out_stride + row, out_stride, scratch_[thread].matmul);
  };
  pool_.for_each(row_items * token_items, body);
}

void CpuOps::project_add(const Matrix& w, const float* x, Communicator& communicator) {
  const bool alone = shard_.size == 1;
  const int64_t rows = rows_an_item(w.rows, pool_.threads());
  const int64_t row_items = divide_up(w.rows, rows);
  pool_.for_each(row_items * divide_up(tokens_, kTokenBlock), [&](int64_t item, int32_t thread) {
    const int64_t begin = item % row_items * rows, end = std::min(w.rows, begin + rows);
    const int64_t token = item / row_items * kTokenBlock;
    const int64_t count = std::min<int64_t>(kTokenBlock, tokens_ - token);
    const RowPointers in(x, w.columns, token, count);
    float* tile = scratch_[thread].tile;
    kernels_.matmul(w, begin, end, in.pointers, count, tile, kRowBlock, scratch_[thread].matmul);
    for (int64_t t = 0; t < count; ++t) {
      float* out = (alone ? hidden_ : partial_) + (token + t) * w.rows + begin;
      const float* sums = tile + t * kRowBlock;
      if (alone) {
        kernels_.add_scaled(1.0f, sums, end - begin, out);
      } else {
        std::copy_n(sums, end - begin, out);
      }
    }
  });
  if (!alone) add_partial(communicator);
}

void CpuOps::add_partial(Communicator& communicator) {
  const int64_t count = tokens_ * config_.hidden_size;
  communicator.all_reduce_sum(partial_, count);
  kernels_.add_scaled(1.0f, partial_, count, hidden_);
}

void CpuOps::norm_qkv(const float* norm, const Matrix& qkv) {
  norm_rows(norm, normed_);
  project(qkv, normed_, tokens_, qkv_, qkv_width());
}

void CpuOps::o_proj_add(const Matrix& o_proj, Communicator& communicator) {
  project_add(o_proj, attended_, communicator);
}

void CpuOps::head(std::span<const SampleRequest> requests, const float* norm,
                  const Matrix& lm_head) {
  const int64_t width = config_.hidden_size;
  sample_rows_ = std::ssize(requests);
  M2_CHECK(sample_rows_ <= limits_.max_sample_rows);
  for (int64_t i = 0; i < sample_rows_; ++i) {
    const int64_t token = requests[i].token_index;
    M2_CHECK(token >= 0 && token < tokens_);
    norm_row(hidden_ + token * width, norm, sampled_ + i * width);
  }
  project(lm_head, sampled_, sample_rows_, logits_, shard_.vocab_count);
}

void CpuOps::sample(std::span<const SampleRequest> requests, Communicator& communicator) {
  output_.clear();
  output_.rows.resize(requests.size());
  int32_t top = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    output_.rows[i].top_begin = top;
    output_.rows[i].top_count = sampler_.top_count(requests[i]);
    top += output_.rows[i].top_count;
  }
  output_.top_ids.resize(top);
  output_.top_logprobs.resize(top);

  // History first and in order: several rows may belong to one slot.
  for (const SampleRequest& request : requests) {
    if (request.history_reset || !request.history.empty()) counts_->update(request);
  }
  if (sharded_sampler_ == nullptr) {
    sample_alone(requests);
  } else {
    ShardedSampler::Step step{.requests = requests,
                              .logits = logits_,
                              .counts = *counts_,
                              .scratch = sampler_scratch_,
                              .pool = pool_,
                              .communicator = communicator,
                              .out = output_};
    sharded_sampler_->sample(step);
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].draw) last_token_[requests[i].slot] = output_.rows[i].token;
  }
}

void CpuOps::sample_alone(std::span<const SampleRequest> requests) {
  pool_.for_each(std::ssize(requests), [&](int64_t i, int32_t thread) {
    const SampleRequest& request = requests[i];
    SampledToken& out = output_.rows[i];
    const auto counts =
        wants_counts(request) ? counts_->of(request.slot) : std::span<const uint16_t>();
    sampler_.sample(request, logits_ + i * shard_.vocab_count, counts, sampler_scratch_[thread],
                    out, output_.top_ids.data() + out.top_begin,
                    output_.top_logprobs.data() + out.top_begin);
  });
}

Status CpuOps::collect(SampleOutput& output) {
  std::swap(output, output_);
  return {};
}

Status CpuOps::read_logits(std::span<float> logits) {
  const size_t count = sample_rows_ * shard_.vocab_count;
  M2_CHECK(logits.size() >= count);
  std::copy_n(logits_, count, logits.begin());
  return {};
}

}  // namespace m2
