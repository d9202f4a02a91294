// The ops of a step's layers, in the order of their calls: each chooses its kernels by the step's
// number of tokens and by the shapes, and leaves to the next what is added up there.
#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/portable/attention.cuh"
#include "backend/cuda/portable/embed.cuh"
#include "backend/cuda/portable/qk_norm.cuh"
#include "backend/cuda/portable/router.cuh"

namespace m2 {

using cuda::LinearKind;

void CudaOps::embed(const Matrix& embed, Communicator&) {
  sums_pending_ = false;
  layer_ = -1;
  if (graphs_.skip(embed.data)) return;
  cuda::launch_embed({.tokens = step_.tokens,
                      .token_row = step_.token_row,
                      .position = step_.position,
                      .rows = step_.rows,
                      .last_token = last_token_,
                      .inverse_frequency = inverse_frequency_,
                      .embed = static_cast<const bf16_t*>(embed.data),
                      .vocab_begin = static_cast<int32_t>(shard_.vocab_begin),
                      .vocab_count = static_cast<int32_t>(shard_.vocab_count),
                      .width = config_.hidden_size,
                      .half = config_.rotary_dim / 2,
                      .num_tokens = tokens_,
                      .hidden = hidden_,
                      .rotation = rotation_},
                     queue(KernelName::kEmbed));
  note("embed");
}

cuda::NormArgs CudaOps::norm_args(const float* weight, uint16_t* out) {
  return {.x = hidden_,
          .weight = weight,
          .epsilon = config_.rms_norm_eps,
          .rows = tokens_,
          .width = config_.hidden_size,
          .out = out,
          .f16 = config_.fp8()};
}

// What the last experts_add() left to the norm that comes next.
cuda::Sums CudaOps::take_sums() {
  if (!std::exchange(sums_pending_, false)) return {};
  return {down_, expert_weights_, lists_.place, config_.experts_per_token};
}

cuda::LinearArgs CudaOps::linear_args(LinearKind kind, const Matrix& m, const uint16_t* x,
                                      int32_t tokens, void* out, int32_t out_stride) const {
  return {.kind = kind,
          .weights = {m.data, m.scales, static_cast<int32_t>(m.rows),
                      static_cast<int32_t>(m.columns), m.dtype == DType::kF8E4M3},
          .x = x,
          .tokens = tokens,
          .lists = lists_,
          .out = out,
          .out_stride = out_stride,
          .multiprocessors = multiprocessors_};
}

void CudaOps::linear(LinearKind kind, const Matrix& m, const uint16_t* x, int32_t tokens, void* out,
                     int32_t out_stride, const cuda::Queue& queue) {
  cuda::launch_linear(linear_args(kind, m, x, tokens, out, out_stride), queue);
}

// In a step of few tokens.
cuda::SingleArgs CudaOps::single(LinearKind kind, const Matrix& m, const uint16_t* x, void* out,
                                 int32_t out_stride) const {
  return {.linear = {.kind = kind,
                     .weights = {m.data, m.scales, static_cast<int32_t>(m.rows),
                                 static_cast<int32_t>(m.columns), true},
                     .x = x,
                     .tokens = tokens_,
                     .lists = {},
                     .out = out,
                     .out_stride = out_stride,
                     .multiprocessors = multiprocessors_},
          .hidden = hidden_,
          .epsilon = config_.rms_norm_eps,
          .logits = router_,
          .num_experts = config_.num_experts,
          .count = config_.experts_per_token};
}

// As many as qkv_ has room for, and q/k norm adds up.
int32_t CudaOps::qkv_parts(const cuda::LinearArgs& product) const {
  const size_t to_add_up =
      cuda::qk_norm_bytes(shard_.num_heads, shard_.num_kv_heads, config_.head_dim);
  const int32_t room = to_add_up <= shared_bytes_ ? max_tokens() / tokens_ : 1;
  return cuda::linear_splits(product, room, queue(KernelName::kQkv));
}

void CudaOps::norm_qkv(const float* weight, const Matrix& qkv) {
  cuda::NormArgs norm = norm_args(weight, normed_);
  norm.sums = take_sums();
  ++layer_;
  // Whether attention is fused or not: steps of one size share their pieces.
  const bool few = serves_single_ && tokens_ <= cuda::kMostSingleTokens;
  cuda::LinearArgs product =
      linear_args(LinearKind::kStore, qkv, normed_, tokens_, qkv_, qkv_width());
  // Also of a piece that is replayed: attention, which is not, adds up as many.
  product.splits = qkv_parts_ = few ? 1 : qkv_parts(product);
  if (graphs_.skip(qkv.data)) return;
  if (single_) {
    cuda::SingleArgs args = single(LinearKind::kStore, qkv, nullptr, qkv_, qkv_width());
    args.norm = weight;
    args.squares = squares_;
    cuda::launch_single(args, queue(KernelName::kQkv));
    return note("norm_qkv");
  }
  cuda::launch_norm(norm, queue(KernelName::kInputNorm));
  if (few) {
    cuda::SingleArgs args = single(LinearKind::kStore, qkv, normed_, qkv_, qkv_width());
    args.squares = squares_;
    cuda::launch_single(args, queue(KernelName::kQkv));
  } else {
    cuda::launch_linear(product, queue(KernelName::kQkv));
  }
  note("norm_qkv");
}

void CudaOps::attention(int32_t layer, const float* q_norm, const float* k_norm, Communicator&) {
  note(graphs_.pause(stream_));
  if (graphs_.skip(q_norm)) return;
  std::byte* kv = kv_memory_.data() + size_t{2} * layer * kv_plane_bytes();
  const cuda::KvPlanes planes{.keys = kv,
                              .values = kv + kv_plane_bytes(),
                              .num_heads = shard_.num_kv_heads,
                              .block_tokens = limits_.block_tokens,
                              .head_dim = config_.head_dim,
                              .fp8 = limits_.kv_dtype == DType::kF8E4M3};
  if (!fused_) {
    cuda::launch_qk_norm({.qkv = qkv_,
                          .parts = qkv_parts_,
                          .token_row = step_.token_row,
                          .position = step_.position,
                          .rows = step_.rows,
                          .blocks = step_.blocks,
                          .q_norm = q_norm,
                          .k_norm = k_norm,
                          .rotation = rotation_,
                          .num_tokens = tokens_,
                          .num_heads = shard_.num_heads,
                          .half = config_.rotary_dim / 2,
                          .epsilon = config_.rms_norm_eps,
                          .q = q_,
                          .kv = planes},
                         queue(KernelName::kQkNorm));
    note("qk_norm");
  }
  cuda::launch_attention(
      {.q = q_,
       .kv = planes,
       .rows = step_.rows,
       .blocks = step_.blocks,
       .num_heads = shard_.num_heads,
       .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
       .attended = attended_,
       .f16 = config_.fp8(),
       .items = step_.items,
       .num_items = num_items_,
       .decode_rows = step_.decode_rows,
       .num_decode_rows = num_decode_rows_,
       .shares = cuda::attention_shares(num_decode_rows_, shard_.num_kv_heads, multiprocessors_),
       .partial = partial_,
       .softmax = softmax_,
       .done = shares_done_,
       .apart = alone_,
       .fused = {.qkv = fused_ ? qkv_ : nullptr,
                 .squares = squares_,
                 .q_norm = q_norm,
                 .k_norm = k_norm,
                 .rotation = rotation_,
                 .half = config_.rotary_dim / 2,
                 .epsilon = config_.rms_norm_eps}},
      queue(KernelName::kAttention));
  note("attention");
  if (error_) note(graphs_.resume(stream_));
}

void CudaOps::o_proj_add(const Matrix& o_proj, Communicator&) {
  if (graphs_.skip(o_proj.data)) return;
  o_proj_parts_ = 1;
  if (single_) {
    cuda::launch_single(single(LinearKind::kAdd, o_proj, attended_, hidden_, config_.hidden_size),
                        queue(KernelName::kOProj));
    return note("o_proj_add");
  }
  cuda::LinearArgs args =
      linear_args(LinearKind::kAdd, o_proj, attended_, tokens_, hidden_, config_.hidden_size);
  const cuda::Queue on = queue(KernelName::kOProj);
  args.splits = o_proj_parts_ = cuda::linear_splits(args, max_pairs() / tokens_, on);
  if (o_proj_parts_ > 1) args.kind = LinearKind::kStore, args.out = down_;
  cuda::launch_linear(args, on);
  note("o_proj_add");
}

// Whether the norm and the router of the step under way are one kernel.
bool CudaOps::norms_and_routes() const { return tokens_ <= cuda::kNormRouterTokens; }

// Of the router's columns in the step under way.
int32_t CudaOps::router_splits() const {
  if (norms_and_routes()) return 1;
  return cuda::router_splits(tokens_, config_.num_experts, multiprocessors_);
}

void CudaOps::norm_route(const float* weight, const float* gate) {
  if (graphs_.skip(gate)) return;
  cuda::NormArgs norm = norm_args(weight, normed_);
  cuda::RouterArgs router{.x = exact_normed_,
                          .gate = gate,
                          .num_tokens = tokens_,
                          .num_experts = config_.num_experts,
                          .width = config_.hidden_size,
                          .splits = router_splits(),
                          .logits = router_};
  if (norms_and_routes()) {
    cuda::launch_norm_router({norm, router}, queue(KernelName::kRouter));
  } else {
    norm.exact_out = exact_normed_;
    if (o_proj_parts_ > 1) norm.sums = {.y = down_, .count = o_proj_parts_};
    cuda::launch_norm(norm, queue(KernelName::kRouterNorm));
    cuda::launch_router(router, queue(KernelName::kRouter));
  }
  note("router");
}

void CudaOps::experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                          Communicator&) {
  sums_pending_ = !single_;
  if (graphs_.skip(gate_up.data)) return;
  if (single_) {
    const auto width = static_cast<int32_t>(shard_.expert_columns);
    cuda::SingleArgs args = single(LinearKind::kGateUp, gate_up, normed_, activated_, width);
    args.bias = gate_bias;
    cuda::launch_single(args, queue(KernelName::kGateUp));
    args = single(LinearKind::kDown, down, activated_, hidden_, config_.hidden_size);
    args.bias = gate_bias;
    cuda::launch_single(args, queue(KernelName::kDown));
    return note("experts");
  }
  const auto columns = static_cast<int32_t>(shard_.expert_columns);
  const int64_t pairs = int64_t{tokens_} * config_.experts_per_token;
  cuda::LinearArgs up =
      linear_args(LinearKind::kGateUp, gate_up, normed_, tokens_, activated_, columns);
  cuda::LinearArgs back =
      linear_args(LinearKind::kDown, down, activated_, tokens_, down_, config_.hidden_size);
  const int32_t tile_tokens = cuda::expert_tile_tokens(up, back, queue(KernelName::kChoice));
  for (cuda::LinearArgs* args : {&up, &back}) {
    args->tile_tokens = tile_tokens;
    args->max_active = static_cast<int32_t>(std::min<int64_t>(shard_.num_experts, pairs));
    args->max_tiles = static_cast<int32_t>(pairs / tile_tokens) + args->max_active;
  }
  cuda::launch_route({.choose = {.logits = router_,
                                 .splits = router_splits(),
                                 .bias = gate_bias,
                                 .real_tokens = step_.num_tokens,
                                 .num_tokens = tokens_,
                                 .num_experts = config_.num_experts,
                                 .count = config_.experts_per_token,
                                 .chosen = chosen_,
                                 .weights = expert_weights_,
                                 .done = tokens_done_},
                      .group = {.expert_begin = shard_.expert_begin,
                                .num_experts = shard_.num_experts,
                                .tile_tokens = tile_tokens,
                                .lists = lists_}},
                     queue(KernelName::kChoice));
  note("choice of experts");
  cuda::launch_linear(up, queue(KernelName::kGateUp));
  note("experts' gate and up");
  cuda::launch_linear(back, queue(KernelName::kDown));
  note("experts' down");
}

}  // namespace m2
