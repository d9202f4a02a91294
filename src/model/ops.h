// The model-shaped operations that forward.cc is written in. A backend implements them; where it
// wants to fuse, it fuses inside one of these.
//
// The state they pass on is the backend's own, one row a token of the step begun last:
//   hidden [tokens, hidden]             the residual stream
//   qkv [tokens, q + 2 * kv]            projections, before norm and rotation
//   attended [tokens, heads * head_dim] attention's output
//   normed [tokens, hidden]             the experts' input
//   router [tokens, num_experts]        fp32 router logits
//   logits [sample rows, vocab slice]   fp32
// and over steps: the KV cache, each slot's last token and each slot's penalty counts.
//
// Thread-safety: one rank thread calls, in order. Nothing allocates after construction. A device
// may run behind the caller: collect() waits, and begin_step() for the step before the last. Calls
// that take a Communicator must be made by every rank; with one rank it is SelfCommunicator and
// costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "model/batch.h"
#include "model/weights.h"

namespace m2 {

class Communicator;

// What an Ops object is made for; constant.
struct OpsLimits {
  int32_t max_step_tokens = 0;
  int32_t max_sequences = 0;     // rows of a step, and slots
  int32_t max_sample_rows = 0;   // requests of one sample()
  int32_t max_model_tokens = 0;  // longest sequence: bounds positions
  int32_t num_blocks = 0;        // KV blocks
  int32_t block_tokens = 16;
  DType kv_dtype = DType::kF32;
  int32_t real_vocab = 0;  // ids from here up are padding rows of the vocabulary: never drawn
};

// Bytes that an Ops object takes for given limits, for the memory plan.
struct OpsMemory {
  size_t kv_bytes = 0;
  size_t scratch_bytes = 0;
  size_t graph_bytes = 0;  // of a device that records its steps, about
};

// The kernels of one name in a step: how long a device had them and nothing ahead of them to do.
struct KernelTime {
  std::string_view name{};
  int32_t count = 0;
  double seconds = 0;  // of all
};

class Ops {
 public:
  virtual ~Ops() = default;

  // Takes over the loaded weights, once, before the first step: may rewrite their memory in its own
  // order, and copies those that lie where it cannot read them; `weights` then shows the result.
  virtual Status adopt(Weights& weights) = 0;

  // Sizes of steps, in tokens, that the caller runs once before the first request, as decode rows
  // and as a prompt, so that nothing is made on the way later.
  virtual std::span<const int32_t> sizes_to_warm() const { return {}; }

  // Takes over the step's shape; the batch's arrays stay until the step's last op.
  virtual void begin_step(const Batch& batch) = 0;

  // hidden = the tokens' embedding rows; ids of other ranks' rows come through the communicator.
  virtual void embed(const Matrix& embed, Communicator& communicator) = 0;
  // qkv = qkv_proj * rms_norm(hidden)
  virtual void norm_qkv(const float* norm, const Matrix& qkv) = 0;
  // RMS norm of q and of k over all heads of all ranks, rotation, KV store, causal attention.
  virtual void attention(int32_t layer, const float* q_norm, const float* k_norm,
                         Communicator& communicator) = 0;
  // hidden += o_proj * attended, summed over ranks
  virtual void o_proj_add(const Matrix& o_proj, Communicator& communicator) = 0;
  // normed = rms_norm(hidden); router = gate * normed
  virtual void norm_route(const float* norm, const float* gate) = 0;
  // Chooses the experts by sigmoid(router) + bias, weights them by sigmoid(router) made to sum to
  // 1; hidden += the weighted sum of down * (silu(gate) * up), over this rank's experts, over ranks
  virtual void experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                           Communicator& communicator) = 0;

  // logits = lm_head * rms_norm(hidden) of the requests' tokens only
  virtual void head(std::span<const SampleRequest> requests, const float* norm,
                    const Matrix& lm_head) = 0;
  // Logprobs and draws from the logits. Order: allowed, banned and mask; bias; penalties;
  // temperature; min_p; top_k; top_p. Logprobs and ranks are those of the raw logits.
  virtual void sample(std::span<const SampleRequest> requests, Communicator& communicator) = 0;
  // Whether collect() would not wait. A device that runs behind the caller says no while it works,
  // and the caller queues what comes next meanwhile; two sample() may then be uncollected.
  virtual bool ready() { return true; }
  // Waits for the oldest sample() not yet collected and fills `output`. An error is a device fault.
  virtual Status collect(SampleOutput& output) = 0;

  // For messages: what the device began last, for who finds that it hangs. From any thread.
  virtual std::string last_begun() const { return ""; }

  // For benchmarks: where the time of the last step that was sampled from went, in the order of its
  // kernels; waits for it. Empty but on a device that was asked to note it (BackendOptions).
  virtual std::vector<KernelTime> kernel_times() { return {}; }

  // For tests and checks: waits, then copies the logits of the last head(), row by row.
  virtual Status read_logits(std::span<float> logits) = 0;
};

}  // namespace m2
