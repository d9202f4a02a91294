// Construction of CpuOps: every buffer that its ops will ever use.
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/router.h"
#include "base/carver.h"
#include "base/divide_up.h"

namespace m2 {
namespace {

KvShape kv_shape(const ModelConfig& config, const Shard& shard, const OpsLimits& limits) {
  return {.num_layers = config.num_layers,
          .num_blocks = limits.num_blocks,
          .num_heads = shard.num_kv_heads,
          .block_tokens = limits.block_tokens,
          .head_dim = config.head_dim,
          .dtype = limits.kv_dtype};
}

// Whether every width is whole vectors of every instruction set: always so in FP8, and in the
// shapes of the family; a bf16 checkpoint may have any.
bool suits_fast_kernels(const ModelConfig& config, const Shard& shard) {
  constexpr int64_t kStep = 64;
  return config.hidden_size % kStep == 0 && config.head_dim % kStep == 0 &&
         shard.expert_columns % kStep == 0;
}

// Gives every page its memory now, so that the process does not grow while it serves (Linux 5.14;
// before, pages come when they are first written). What stands there stays.
void touch(std::span<std::byte> memory) {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE
  (void)::madvise(memory.data(), memory.size(), kPopulateWrite);
}

}  // namespace

size_t CpuOps::carve(std::byte* base) {
  constexpr size_t kAlignment = 64;  // a line of the caches
  Carver memory(base, kAlignment);
  const int64_t tokens = limits_.max_step_tokens, hidden = config_.hidden_size;
  memory.take(token_row_, tokens);
  memory.take(position_, tokens);
  memory.take(cos_, tokens * config_.rotary_dim / 2);
  memory.take(sin_, tokens * config_.rotary_dim / 2);
  memory.take(hidden_, tokens * hidden);
  memory.take(normed_, tokens * hidden);
  memory.take(partial_, tokens * hidden);
  memory.take(qkv_, tokens * qkv_width());
  memory.take(attended_, tokens * q_width());
  memory.take(squares_, tokens * 2);
  memory.take(router_, tokens * config_.num_experts);
  memory.take(chosen_, num_pairs_max());
  memory.take(weights_, num_pairs_max());
  memory.take(pairs_, num_pairs_max());
  memory.take(pair_begin_, shard_.num_experts + 1);
  memory.take(active_experts_, shard_.num_experts);
  memory.take(activated_, num_pairs_max() * shard_.expert_columns);
  memory.take(sampled_, limits_.max_sample_rows * hidden);
  memory.take(logits_, limits_.max_sample_rows * shard_.vocab_count);
  const int64_t widest = std::max({hidden, q_width(), shard_.expert_columns});
  for (ThreadScratch& scratch : scratch_) {
    memory.take(scratch.matmul, matmul_scratch(widest));
    memory.take(scratch.tile, int64_t{2} * kTokenBlock * kRowBlock);
    memory.take(scratch.scores, int64_t{kQueryBlock} * kChunkTokens);
    memory.take(scratch.merged, int64_t{kQueryBlock} * config_.head_dim);
    if (limits_.kv_dtype != DType::kF32) {
      memory.take(scratch.keys, int64_t{kChunkTokens} * config_.head_dim);
      memory.take(scratch.values, int64_t{kChunkTokens} * config_.head_dim);
    }
  }
  return memory.bytes();
}

CpuOps::CpuOps(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
               const Kernels& kernels, int32_t threads)
    : config_(config),
      shard_(shard),
      limits_(limits),
      kernels_(kernels),
      pool_(threads),
      sampler_(kernels, limits.real_vocab),
      scratch_(threads),
      last_token_(limits.max_sequences, 0) {
  for (int32_t i = 0; i < config.rotary_dim / 2; ++i) {
    // Rounded to float as the reference's table is.
    inverse_frequency_.push_back(
        static_cast<float>(std::pow(config.rope_theta, -2.0 * i / config.rotary_dim)));
  }
}

OpsMemory CpuOps::memory_for(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
                             int32_t threads) {
  CpuOps counter(config, shard, limits, plain_kernels(), 1);
  counter.scratch_.resize(threads);
  OpsMemory memory;
  memory.kv_bytes = kv_shape(config, shard, limits).bytes();
  memory.scratch_bytes = counter.carve(nullptr) +
                         PenaltyCounts::bytes(limits.max_sequences, shard.vocab_count) +
                         Sampler::Scratch::bytes(config.vocab_size) * threads;
  if (shard.size > 1) memory.scratch_bytes += ShardedSampler::bytes(shard, limits.max_sample_rows);
  return memory;
}

Result<std::unique_ptr<CpuOps>> CpuOps::create(const ModelConfig& config, const Shard& shard,
                                               const OpsLimits& limits, const Kernels& kernels,
                                               int32_t threads) {
  if (limits.kv_dtype != DType::kF32 && limits.kv_dtype != DType::kBF16 &&
      limits.kv_dtype != DType::kF8E4M3) {
    return fail(ErrorKind::kUnsupported, "kv-cache-dtype",
                "keys and values are kept in F32, BF16 or F8_E4M3, not {}",
                dtype_name(limits.kv_dtype));
  }
  if (config.experts_per_token > kMaxExpertsPerToken) {
    return fail(ErrorKind::kUnsupported, "num_experts_per_tok",
                "{} experts a token; at most {} are served", config.experts_per_token,
                kMaxExpertsPerToken);
  }
  std::unique_ptr<CpuOps> ops(
      new CpuOps(config, shard, limits,
                 suits_fast_kernels(config, shard) ? kernels : plain_kernels(), threads));
  const size_t scratch_bytes = ops->carve(nullptr);
  const KvShape shape = kv_shape(config, shard, limits);
  ops->memory_ = HostMemory(scratch_bytes);
  HostMemory kv(shape.bytes());
  const size_t counts_bytes = PenaltyCounts::bytes(limits.max_sequences, shard.vocab_count);
  HostMemory counts(counts_bytes);
  if (ops->memory_.bytes() != scratch_bytes || kv.bytes() != shape.bytes() ||
      counts.bytes() != counts_bytes) {
    return fail(ErrorKind::kUnavailable, "", "the system refused {} bytes for KV cache and scratch",
                scratch_bytes + shape.bytes() + counts_bytes);
  }
  ops->carve(ops->memory_.data());
  touch({ops->memory_.data(), scratch_bytes});
  ops->untouched_ = {kv.data(), kv.bytes()};
  ops->kv_ = std::make_unique<KvCache>(shape, std::move(kv));
  ops->counts_ =
      std::make_unique<PenaltyCounts>(shard.vocab_count, std::move(counts), shard.vocab_begin);
  ops->sampler_scratch_.assign(threads, Sampler::Scratch(config.vocab_size));
  for (Sampler::Scratch& scratch : ops->sampler_scratch_) {
    scratch.candidates.reserve(config.vocab_size);  // a copy does not keep capacity
  }
  if (shard.size > 1) {
    ops->sharded_sampler_ = std::make_unique<ShardedSampler>(
        ops->kernels_, shard, limits.real_vocab, limits.max_sample_rows);
  }
  ops->output_.rows.reserve(limits.max_sample_rows);
  // A token an item at worst, for each head.
  ops->attention_items_.reserve(int64_t{limits.max_step_tokens} * shard.num_kv_heads);
  return ops;
}

Status CpuOps::adopt(Weights& weights) {
  for (LayerWeights& layer : weights.layers) {
    for (const Matrix* matrix : {&layer.qkv, &layer.o_proj, &layer.gate_up, &layer.down}) {
      if (matrix->dtype == DType::kF8E4M3 && kernels_.pack_row != nullptr) pack(*matrix);
    }
  }
  // Nobody waits for the KV cache, which is large: what is asked for meanwhile comes when written.
  // Not sooner: the system's handing out of so many pages slows down whoever loads weights.
  touching_ = std::jthread([all = untouched_](const std::stop_token& stop) {
    // Who maps or frees memory meanwhile, a new thread say, waits for a piece.
    constexpr size_t kPiece = size_t{1} << 20;
    for (size_t at = 0; at < all.size() && !stop.stop_requested(); at += kPiece) {
      touch(all.subspan(at, std::min(kPiece, all.size() - at)));
    }
  });
  return {};
}

void CpuOps::pack(const Matrix& matrix) {
  constexpr int64_t kRowsAnItem = 256;
  const int64_t rows = matrix.count * matrix.rows;
  pool_.for_each(divide_up(rows, kRowsAnItem), [&](int64_t item, int32_t) {
    const int64_t end = std::min(rows, (item + 1) * kRowsAnItem);
    for (int64_t row = item * kRowsAnItem; row < end; ++row) {
      // The loader's memory, which adopt() was given to write to.
      auto* bytes = static_cast<uint8_t*>(const_cast<void*>(matrix.data));
      kernels_.pack_row(bytes + row * matrix.columns, matrix.columns);
    }
  });
}

}  // namespace m2
