// The ops on a CPU: fp32 activations and residual, FP8 and bf16 weights widened exactly, paged KV
// in fp32, bf16 or FP8. Batch-invariant: a token's result does not depend on what else is in the
// batch (kernels.h).
//
// Work inside an op is cut into items for the worker pool; an item is a range of output rows (for
// all tokens) or a range of tokens.
#pragma once

#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/penalty_counts.h"
#include "backend/cpu/sampler.h"
#include "backend/cpu/sharded_sampler.h"
#include "backend/cpu/worker_pool.h"
#include "model/config.h"
#include "model/ops.h"

namespace m2 {

class CpuOps : public Ops {
 public:
  static OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                              const OpsLimits& limits, int32_t threads);
  // `threads` of them, the caller's among them.
  static Result<std::unique_ptr<CpuOps>> create(const ModelConfig& config, const Shard& shard,
                                                const OpsLimits& limits, const Kernels& kernels,
                                                int32_t threads);

  Status adopt(Weights& weights) override;
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
  Status collect(SampleOutput& output) override;
  Status read_logits(std::span<float> logits) override;

 private:
  // One (token, expert) pair of the routing, grouped by expert.
  struct Pair {
    int32_t token;
    float weight;
  };
  // One stretch of queries of one KV head.
  struct AttentionItem {
    int32_t row, head, first_token, num_tokens;
  };
  // One query of an item: what it has gathered of the chunks so far.
  struct QueryState {
    const float* query = nullptr;
    int32_t position = 0;
    float largest = 0, sum = 0;
    float* merged = nullptr;   // [head_dim], in attended_
    float* partial = nullptr;  // [head_dim], of the chunk under way
  };
  // A thread's own working memory.
  struct ThreadScratch {
    float* matmul = nullptr;  // matmul_scratch(widest)
    float* tile = nullptr;    // [2, kTokenBlock, kRowBlock]
    float* scores = nullptr;  // [kQueryBlock, kChunkTokens]
    float* merged = nullptr;  // [kQueryBlock, head_dim]
    float* keys = nullptr;    // [kChunkTokens, head_dim] a chunk in fp32, if the cache is not
    float* values = nullptr;  // likewise
  };

  CpuOps(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
         const Kernels& kernels, int32_t threads);
  // Points the buffers into `base`; with a null base only counts the bytes.
  size_t carve(std::byte* base);
  void pack(const Matrix& matrix);

  int64_t q_width() const { return int64_t{shard_.num_heads} * config_.head_dim; }
  int64_t kv_width() const { return int64_t{shard_.num_kv_heads} * config_.head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }
  int64_t num_pairs_max() const {
    return int64_t{limits_.max_step_tokens} * config_.experts_per_token;
  }

  void norm_row(const float* x, const float* norm, float* out) const;
  void norm_rows(const float* norm, float* out);
  // out[t] = w * x[t] for x [tokens, w.columns], out [tokens, out_stride].
  void project(const Matrix& w, const float* x, int64_t tokens, float* out, int64_t out_stride);
  // The same, added to hidden, after the sum over ranks.
  void project_add(const Matrix& w, const float* x, Communicator& communicator);
  void add_partial(Communicator& communicator);

  void sum_squares(Communicator& communicator);
  void norm_rotate_store(int32_t layer, const float* q_norm, const float* k_norm);
  void rotate(float* head, int64_t token) const;
  void store(int32_t layer, int64_t token);
  void plan_attention();
  void attend(int32_t layer, const AttentionItem& item, const ThreadScratch& scratch);
  // A block's rows in fp32, where they lie or widened to `scratch`.
  const float* widened(const std::byte* rows, int32_t count, float* scratch) const;
  void attend_chunk(int32_t layer, int32_t head, const BatchRow& row, int32_t begin,
                    std::span<QueryState> queries, const ThreadScratch& scratch);
  void merge(QueryState& query, bool first, float largest, float sum) const;

  void route(const float* gate_bias);
  void group_pairs();
  void gate_up_rows(const Matrix& gate_up, int32_t expert, int64_t begin, int64_t end,
                    const ThreadScratch& scratch);
  void down_rows(const Matrix& down, int64_t begin, int64_t end, const ThreadScratch& scratch);

  void sample_alone(std::span<const SampleRequest> requests);

  const ModelConfig config_;
  const Shard shard_;
  const OpsLimits limits_;
  const Kernels& kernels_;
  WorkerPool pool_;
  HostMemory memory_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<PenaltyCounts> counts_;
  Sampler sampler_;
  std::unique_ptr<ShardedSampler> sharded_sampler_;  // with ranks > 1
  std::vector<Sampler::Scratch> sampler_scratch_;    // one a thread
  std::vector<ThreadScratch> scratch_;               // one a thread

  // The step under way.
  Batch batch_;
  int64_t tokens_ = 0;
  int32_t* token_row_ = nullptr;  // [max tokens] index into batch_.rows
  int32_t* position_ = nullptr;   // [max tokens]
  std::vector<AttentionItem> attention_items_;
  std::vector<float> inverse_frequency_;  // [rotary_dim / 2]
  std::vector<int32_t> last_token_;       // [slots]
  SampleOutput output_;

  float* cos_ = nullptr;               // [max tokens, rotary_dim / 2]
  float* sin_ = nullptr;               // likewise
  float* hidden_ = nullptr;            // [max tokens, hidden]
  float* normed_ = nullptr;            // [max tokens, hidden]
  float* partial_ = nullptr;           // [max tokens, hidden] what is summed over ranks
  float* qkv_ = nullptr;               // [max tokens, qkv_width]
  float* attended_ = nullptr;          // [max tokens, q_width]
  float* squares_ = nullptr;           // [max tokens, 2]
  float* router_ = nullptr;            // [max tokens, num_experts]
  int32_t* chosen_ = nullptr;          // [max tokens, experts_per_token]
  float* weights_ = nullptr;           // likewise
  Pair* pairs_ = nullptr;              // [num_pairs_max], by expert
  int32_t* pair_begin_ = nullptr;      // [local experts + 1] into pairs_
  int32_t* active_experts_ = nullptr;  // [local experts] those with a token
  int64_t num_active_ = 0;
  float* activated_ = nullptr;  // [num_pairs_max, expert_columns]
  float* sampled_ = nullptr;    // [max sample rows, hidden]
  float* logits_ = nullptr;     // [max sample rows, vocab_count]
  int64_t sample_rows_ = 0;

  std::span<std::byte> untouched_;  // the KV cache, until adopt()
  std::jthread touching_;           // last: it is done with the KV cache before that goes
};

}  // namespace m2
