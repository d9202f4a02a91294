// The ops on an NVIDIA GPU: bf16 residual, f16 inputs of FP8 weights, fp32 sums, FP8 and bf16
// weights widened exactly, fp32 router, paged KV in bf16 or FP8. Calls enqueue on the rank's own
// stream and return; collect() and read_logits() wait, begin_step() for the step before the last,
// and a head() that wants other rows than another one of its step did.
//
// Not batch-invariant: kernels are chosen by the number of tokens (docs/numerics.md).
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernel_mark.h"
#include "backend/cuda/kernel_stamps.h"
#include "backend/cuda/portable/linear.cuh"
#include "backend/cuda/portable/norm.cuh"
#include "backend/cuda/portable/sample.cuh"
#include "backend/cuda/portable/single.cuh"
#include "backend/cuda/sample_queue.h"
#include "backend/cuda/step_graphs.h"
#include "backend/cuda/step_upload.h"
#include "backend/cuda/upload.h"
#include "model/config.h"
#include "model/ops.h"

namespace m2 {

class CudaOps final : public Ops {
 public:
  // Refuses shapes that the kernels do not serve, with the numbers.
  static Status check(const ModelConfig& config, const Shard& shard);
  static Status check(const OpsLimits& limits);
  static OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                              const OpsLimits& limits, const GraphOptions& graphs);
  static Result<std::unique_ptr<CudaOps>> create(const ModelConfig& config, const Shard& shard,
                                                 const OpsLimits& limits, int32_t device,
                                                 const GraphOptions& graphs, bool note_times);
  ~CudaOps() override;

  Status adopt(Weights& weights) override;
  std::span<const int32_t> sizes_to_warm() const override { return graphs_.sizes(); }
  void begin_step(const Batch& batch) override;
  void embed(const Matrix& embed, Communicator& communicator) override;
  void norm_qkv(const float* norm, const Matrix& qkv) override;
  void attention(int32_t layer, const float* q_norm, const float* k_norm,
                 Communicator& communicator) override;
  void o_proj_add(const Matrix& o_proj, Communicator& communicator) override;
  void norm_route(const float* norm, const float* gate) override;
  void experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                   Communicator& communicator) override;
  void head(std::span<const SampleRequest> requests, const float* norm,
            const Matrix& lm_head) override;
  void sample(std::span<const SampleRequest> requests, Communicator& communicator) override;
  bool ready() override { return samples_->ready(); }
  Status collect(SampleOutput& output) override;
  std::string last_begun() const override { return mark_.last(); }
  std::vector<KernelTime> kernel_times() override;
  Status read_logits(std::span<float> logits) override;

 private:
  CudaOps(const ModelConfig& config, const Shard& shard, const OpsLimits& limits, int32_t device,
          const GraphOptions& graphs);
  Status allocate();
  Status choose_code();
  // Points the buffers into `base`; with a null base only counts the bytes.
  size_t carve(std::byte* base);
  size_t kv_plane_bytes() const;  // keys or values of one layer

  void activate();
  // Keeps the first error; collect() reports it.
  void note(cudaError_t error, const char* what);
  void note(const char* what) { note(cudaPeekAtLastError(), what); }

  // Ends the ops between begin_step() and head().
  void end_ops() {
    if (error_) note(graphs_.end(stream_));
  }
  void note(const Status& status) {
    if (!status && error_) error_ = status;
  }

  Status named(Status status) const;

  void free_upload();
  void bring_sampled_rows(std::span<const SampleRequest> requests, const cuda::Queue& queue);
  bool rows_are_apart(const Batch& batch);
  bool single_served() const;
  cuda::SingleArgs single(cuda::LinearKind kind, const Matrix& matrix, const uint16_t* x, void* out,
                          int32_t out_stride) const;
  void pad(const StepUpload& host, int32_t rows, int32_t num_blocks, bool decode);
  bool norms_and_routes() const;
  int32_t router_splits() const;
  void plan_attention(int32_t rows, const StepUpload& host);
  cuda::Queue queue(KernelName name) const { return queue(name, layer_); }
  cuda::Queue queue(KernelName name, int32_t layer) const {
    cuda::Mark mark = mark_.at(name, layer);
    mark.stamp = stamps_.at(name, layer);
    return {stream_, overlap_, async_copies_, shared_bytes_, mark};
  }
  cuda::NormArgs norm_args(const float* weight, uint16_t* out);
  cuda::Sums take_sums();
  cuda::LinearArgs linear_args(cuda::LinearKind kind, const Matrix& matrix, const uint16_t* x,
                               int32_t tokens, void* out, int32_t out_stride) const;
  int32_t qkv_parts(const cuda::LinearArgs& product) const;
  void linear(cuda::LinearKind kind, const Matrix& matrix, const uint16_t* x, int32_t tokens,
              void* out, int32_t out_stride, const cuda::Queue& queue);

  int32_t q_width() const { return shard_.num_heads * config_.head_dim; }
  int32_t kv_width() const { return shard_.num_kv_heads * config_.head_dim; }
  int32_t qkv_width() const { return q_width() + 2 * kv_width(); }
  int32_t group() const { return shard_.num_heads / shard_.num_kv_heads; }
  int32_t largest() const { return graphs_.sizes().empty() ? 0 : graphs_.sizes().back(); }
  int32_t max_tokens() const { return StepUpload::max_tokens(limits_, largest()); }
  int32_t max_rows() const { return StepUpload::max_rows(limits_, largest()); }
  int64_t max_pairs() const { return int64_t{max_tokens()} * config_.experts_per_token; }
  int64_t max_tiles() const;

  const ModelConfig config_;
  const Shard shard_;
  const OpsLimits limits_;
  const int32_t device_;
  int32_t multiprocessors_ = 1;
  cudaStream_t stream_ = nullptr;
  bool overlap_ = false, async_copies_ = true;  // cuda::Queue
  size_t shared_bytes_ = 0;                     // likewise
  KernelMark mark_;
  KernelStamps stamps_;
  bool serves_single_ = false;  // the shapes of every product
  Status error_;
  DeviceMemory weights_memory_, kv_memory_, scratch_memory_, counts_memory_;

  // The step under way.
  Upload step_upload_, head_upload_;
  StepUpload step_;  // on the device
  int parity_ = 0;   // of the step under way
  bool has_samples_ = false, has_sampled_rows_ = false;
  std::vector<int32_t> sampled_rows_;     // what head_upload_ has brought
  std::array<Event, 2> unsampled_;        // behind steps that nothing was sampled from
  std::array<Event*, 2> step_done_ = {};  // behind the last two steps, or null
  StepGraphs graphs_;
  int32_t layer_ = -1;  // whose ops are being enqueued; -1: none's
  int32_t real_tokens_ = 0;
  int32_t tokens_ = 0;                 // with the padding of a decode step
  bool alone_ = false;                 // decode rows that read nothing of each other's
  bool fused_ = false;                 // a few of them: attention norms for itself
  bool single_ = false;                // one of them, in kernels of its own
  std::vector<uint32_t> block_stamp_;  // [num_blocks] the last step that stored into it
  uint32_t stamp_ = 0;
  int32_t num_items_ = 0, num_decode_rows_ = 0, sample_rows_ = 0;
  std::unique_ptr<SampleQueue> samples_;

  float* inverse_frequency_ = nullptr;  // [rotary_dim / 2]
  int32_t* last_token_ = nullptr;       // [slots]
  bf16_t* hidden_ = nullptr;            // [max tokens, hidden]
  uint16_t* normed_ = nullptr;          // [max tokens, hidden]
  float* exact_normed_ = nullptr;       // [max tokens, hidden] the router's input
  float* qkv_ = nullptr;                // [max tokens, qkv_width]
  float* squares_ = nullptr;            // [kMostSingleTokens, qkv_width / 16]
  bf16_t* q_ = nullptr;                 // [max tokens, q_width]
  uint16_t* attended_ = nullptr;        // [max tokens, q_width]
  float* partial_ = nullptr;            // [shares, heads, head_dim]: most_attention_shares()
  float2* softmax_ = nullptr;           // [shares, heads]
  int32_t* shares_done_ = nullptr;      // [max sequences, kv heads]
  float2* rotation_ = nullptr;          // [max tokens, rotary_dim / 2]
  float* router_ = nullptr;             // [splits, tokens, num_experts]
  int32_t* chosen_ = nullptr;           // [max tokens, experts_per_token]
  float* expert_weights_ = nullptr;     // likewise
  int32_t* tokens_done_ = nullptr;      // [1]
  cuda::ExpertLists lists_;
  uint16_t* activated_ = nullptr;  // [max pairs, expert_columns]
  float* down_ = nullptr;          // [max pairs, hidden]
  // What qkv_ and, before the experts, down_ hold parts of: products of the step under way.
  int32_t qkv_parts_ = 1, o_proj_parts_ = 1;
  bool sums_pending_ = false;    // down_ is still to be added to the residual: by the next norm
  uint16_t* sampled_ = nullptr;  // [max sample rows, hidden]
  float* logits_ = nullptr;      // [max sample rows, vocab_count]
  float* edited_ = nullptr;      // likewise: with masks, bias and penalties
};

}  // namespace m2
