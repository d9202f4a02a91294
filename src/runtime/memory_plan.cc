#include "runtime/memory_plan.h"

#include <algorithm>
#include <bit>

#include "backend/backend.h"
#include "base/divide_up.h"
#include "model/config.h"
#include "model/weights.h"
#include "runtime/runtime.h"

namespace m2 {
namespace {

// Without --kv-cache-memory-bytes the KV cache takes at most half of what is free, and no more than
// the larger of these, over all ranks: a small model on a large machine shall not fill it, however
// many ranks it is cut into.
constexpr size_t kDefaultKvBytes = size_t{2} << 30;
constexpr size_t kDefaultKvTokens = 16384;
// What is left free of a GPU where no share is given, and from where on other processes' memory is
// worth a word.
constexpr double kKeptShare = 0.015;
constexpr size_t kWorthTelling = size_t{256} << 20;
// Sample rows beyond one a sequence let prompt_logprobs take more than one position a step.
constexpr int32_t kLeastSampleRows = 64;

constexpr int32_t kMaxSequences = 4096;
constexpr int32_t kMaxStepTokens = 65536;
constexpr int32_t kMaxBlockTokens = 256;

std::string gib(size_t bytes) { return fmt::format("{:.2f} GiB", bytes / 1073741824.0); }

// "2 replicas of 4 ranks: ", the first factor of the arithmetic.
std::string replicas_text(const MemoryPlan& plan) {
  if (plan.replicas == 1) return "";
  return fmt::format("{} replicas of {} rank{}: ", plan.replicas, plan.ranks,
                     plan.ranks == 1 ? "" : "s");
}

Status check_options(const ModelConfig& config, const RuntimeOptions& o) {
  if (o.max_sequences < 1 || o.max_sequences > kMaxSequences) {
    return invalid("max-num-seqs", "max-num-seqs must be in [1, {}], got {}", kMaxSequences,
                   o.max_sequences);
  }
  if (o.max_step_tokens < o.max_sequences || o.max_step_tokens > kMaxStepTokens) {
    return invalid("max-num-batched-tokens",
                   "max-num-batched-tokens must be in [max-num-seqs = {}, {}], got {}",
                   o.max_sequences, kMaxStepTokens, o.max_step_tokens);
  }
  if (o.block_tokens < 1 || o.block_tokens > kMaxBlockTokens ||
      !std::has_single_bit(static_cast<uint32_t>(o.block_tokens))) {
    return invalid("block-size", "block-size must be a power of two in [1, {}], got {}",
                   kMaxBlockTokens, o.block_tokens);
  }
  if (o.max_model_tokens < 0 || o.max_model_tokens > config.max_position_embeddings) {
    return invalid("max-model-len", "max-model-len must be in [1, {}], the model's own, got {}",
                   config.max_position_embeddings, o.max_model_tokens);
  }
  if (o.num_blocks < 0 || o.kv_cache_bytes < 0) {
    return invalid("kv-cache-memory-bytes",
                   "kv-cache-memory-bytes and num-gpu-blocks-override must not be negative");
  }
  if (o.real_vocab < 0 || o.real_vocab > config.vocab_size) {
    return invalid("real_vocab", "the tokenizer's last id {} is past the model's vocabulary of {}",
                   o.real_vocab - 1, config.vocab_size);
  }
  return {};
}

// What may be taken of the device, and who else has some of it.
void plan_budget(const RuntimeOptions& options, const Backend& backend, MemoryPlan& plan) {
  plan.free_bytes = backend.free_bytes();
  plan.total_bytes = backend.total_bytes();
  if (plan.total_bytes == 0) return;
  const size_t used = plan.total_bytes - std::min(plan.free_bytes, plan.total_bytes);
  const size_t contexts = kGpuContextBytes * static_cast<size_t>(plan.ranks);  // one a GPU
  plan.held_bytes = used - std::min(used, contexts);
  const auto share = [&](double part) {
    return static_cast<size_t>(static_cast<double>(plan.total_bytes) * part);
  };
  if (options.memory_share > 0) {
    const size_t ceiling = share(options.memory_share);
    plan.free_bytes = std::min(plan.free_bytes, ceiling - std::min(ceiling, contexts));
  } else {
    plan.free_bytes -= std::min(plan.free_bytes, share(kKeptShare));
  }
}

// "; other processes hold about 12.0 GiB of it: python3 (process 4711) with 11.5 GiB, process 815"
std::string holders_text(const MemoryPlan& plan, const Backend& backend) {
  constexpr size_t kMostNamed = 4;
  std::string text = fmt::format("; other processes hold about {} of it", gib(plan.held_bytes));
  const std::vector<DeviceProcess> processes = backend.other_processes();
  for (size_t i = 0; i < std::min(processes.size(), kMostNamed); ++i) {
    const DeviceProcess& process = processes[i];
    text += i == 0 ? ": " : ", ";
    if (process.name.empty()) {
      text += fmt::format("process {}", process.pid);
    } else {
      text += fmt::format("{} (process {})", process.name, process.pid);
    }
    if (process.bytes > 0) text += " with " + gib(process.bytes);
  }
  if (processes.size() > kMostNamed) {
    text += fmt::format(" and {} more", processes.size() - kMostNamed);
  }
  return text;
}

// For messages: what stands in the way of a plan that does not fit.
std::string budget_text(const RuntimeOptions& options, const MemoryPlan& plan,
                        const Backend& backend) {
  if (plan.total_bytes == 0) return "";
  std::string text =
      fmt::format(" of {} {}", plan.ranks == 1 ? "the GPU's" : fmt::format("{} GPUs'", plan.ranks),
                  gib(plan.total_bytes));
  if (options.memory_share > 0) {
    text += fmt::format(" under gpu-memory-utilization {}", options.memory_share);
  }
  if (plan.held_bytes > kWorthTelling) text += holders_text(plan, backend);
  return text;
}

// Of one rank; `left` is a rank's share of what is free.
size_t default_kv_bytes(size_t left, const MemoryPlan& plan) {
  if (plan.total_bytes > 0) return left;
  const size_t ranks = plan.all_ranks();
  return std::min(left / 2,
                  std::max(kDefaultKvBytes / ranks, kDefaultKvTokens * plan.kv_bytes_a_token));
}

// Sets num_blocks and, where it was left open, max_model_tokens.
Status plan_blocks(const RuntimeOptions& options, size_t left, MemoryPlan& plan) {
  OpsLimits& limits = plan.limits;
  const size_t block_bytes = plan.kv_bytes_a_token * limits.block_tokens;
  const size_t wanted = options.kv_cache_bytes > 0 ? static_cast<size_t>(options.kv_cache_bytes)
                                                   : default_kv_bytes(left, plan);
  int64_t blocks = options.num_blocks > 0 ? options.num_blocks : wanted / block_bytes;
  // More than every sequence at its longest is never used.
  const int64_t a_sequence = divide_up(limits.max_model_tokens, limits.block_tokens);
  if (options.num_blocks == 0) blocks = std::min(blocks, a_sequence * limits.max_sequences);
  if (blocks < 1 || blocks > INT32_MAX) {
    return invalid("kv-cache-memory-bytes",
                   "{} for the KV cache holds {} blocks of {} tokens ({} each)", gib(wanted),
                   blocks, limits.block_tokens, gib(block_bytes));
  }
  if (blocks < a_sequence) {
    // A length that was asked for is not lowered, nor the model's own for want of memory. The
    // default cache of a CPU is no want but a choice: it does not refuse a long model.
    const bool chosen_here =
        plan.total_bytes == 0 && options.kv_cache_bytes == 0 && options.num_blocks == 0;
    if (!options.fit_length && (options.max_model_tokens > 0 || !chosen_here)) {
      return invalid("max-model-len",
                     "{} {} needs {} of KV cache ({} bytes a token), but it has {}: at most {} "
                     "tokens fit{}",
                     options.max_model_tokens > 0 ? "max-model-len" : "the model's own length",
                     limits.max_model_tokens, gib(a_sequence * block_bytes), plan.kv_bytes_a_token,
                     gib(blocks * block_bytes), blocks * limits.block_tokens,
                     options.max_model_tokens > 0 ? "" : "; --max-model-len auto takes those");
    }
    limits.max_model_tokens = static_cast<int32_t>(blocks * limits.block_tokens);
    plan.length_shrunk = true;
  }
  limits.num_blocks = static_cast<int32_t>(blocks);
  return {};
}

}  // namespace

Result<MemoryPlan> plan_memory(const ModelConfig& config, const Shard& shard,
                               const RuntimeOptions& options, const Backend& backend) {
  M2_TRY(check_options(config, options));
  MemoryPlan plan;
  plan.ranks = shard.size;
  plan.replicas = options.replicas;
  plan_budget(options, backend, plan);
  plan.weights_bytes = weights_bytes(config, shard);
  OpsLimits& limits = plan.limits;
  limits.max_step_tokens = options.max_step_tokens;
  limits.max_sequences = options.max_sequences;
  limits.max_sample_rows = std::max(options.max_sequences, kLeastSampleRows);
  limits.max_model_tokens =
      options.max_model_tokens > 0 ? options.max_model_tokens : config.max_position_embeddings;
  limits.block_tokens = options.block_tokens;
  limits.kv_dtype = options.kv_dtype.value_or(backend.kv_dtype());
  limits.real_vocab = options.real_vocab > 0 ? options.real_vocab : config.vocab_size;

  limits.num_blocks = 1;
  const OpsMemory one_block = backend.memory_for(config, shard, limits);
  limits.num_blocks = 2;
  const size_t block_bytes =
      backend.memory_for(config, shard, limits).kv_bytes - one_block.kv_bytes;
  plan.kv_bytes_a_token = block_bytes / limits.block_tokens;
  // A backend may keep blocks of its own.
  plan.scratch_bytes = one_block.scratch_bytes + one_block.kv_bytes - block_bytes;
  plan.graph_bytes = one_block.graph_bytes;
  const size_t ranks = plan.all_ranks();
  const size_t fixed = (plan.weights_bytes + plan.working_bytes()) * ranks;
  const char* field = plan.replicas > 1 ? "data-parallel-size" : "";
  if (fixed >= plan.free_bytes) {
    return fail(ErrorKind::kUnavailable, field,
                "{}the weights need {} and the working memory {}, but only {} are free{}",
                replicas_text(plan), gib(plan.weights_bytes * ranks),
                gib(plan.working_bytes() * ranks), gib(plan.free_bytes),
                budget_text(options, plan, backend));
  }
  M2_TRY(plan_blocks(options, (plan.free_bytes - fixed) / ranks, plan));
  plan.kv_bytes = plan.kv_bytes_a_token * limits.block_tokens * limits.num_blocks;
  if (fixed + plan.kv_bytes * ranks > plan.free_bytes) {
    return fail(
        ErrorKind::kUnavailable, "kv-cache-memory-bytes",
        "{}weights {} + working memory {} + KV cache {} are more than the {} that are free{}",
        replicas_text(plan), gib(plan.weights_bytes * ranks), gib(plan.working_bytes() * ranks),
        gib(plan.kv_bytes * ranks), gib(plan.free_bytes), budget_text(options, plan, backend));
  }
  return plan;
}

std::string describe(const MemoryPlan& plan) {
  const size_t ranks = plan.all_ranks();
  const size_t used = (plan.weights_bytes + plan.kv_bytes + plan.working_bytes()) * ranks;
  std::string text = fmt::format(
      "memory: weights {}, KV cache {} ({} blocks of {} = {} tokens, {} bytes each), working "
      "memory {}{}, left {}",
      gib(plan.weights_bytes * ranks), gib(plan.kv_bytes * ranks), plan.limits.num_blocks,
      plan.limits.block_tokens, plan.kv_tokens(), plan.kv_bytes_a_token * plan.ranks,
      gib(plan.working_bytes() * ranks),
      plan.graph_bytes > 0 ? fmt::format(" (recorded steps {})", gib(plan.graph_bytes * ranks))
                           : "",
      gib(plan.free_bytes - std::min(used, plan.free_bytes)));
  if (ranks > 1) {
    text += fmt::format(
        "\n{} replica{} of {} rank{}; a rank has weights {}, KV cache {}, working memory {}",
        plan.replicas, plan.replicas == 1 ? "" : "s", plan.ranks, plan.ranks == 1 ? "" : "s",
        gib(plan.weights_bytes), gib(plan.kv_bytes), gib(plan.working_bytes()));
  }
  if (plan.length_shrunk) {
    text += fmt::format(
        "\nthe longest sequence is {} tokens, what the KV cache holds, and not the model's own "
        "length; --kv-cache-memory-bytes changes that",
        plan.limits.max_model_tokens);
  }
  return text;
}

}  // namespace m2
