// Construction of CudaOps: every buffer that its ops will ever use, and the weights' way to the
// device.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/portable/router.cuh"
#include "base/carver.h"

namespace m2 {

using cuda::LinearKind;

namespace {

constexpr size_t kAlignment = 256;
// What the driver rounds an allocation up to, and how many there are, with room for more.
constexpr size_t kGranule = size_t{2} << 20, kAllocations = 12;

Status unsupported(const char* field, const std::string& message) {
  return fail(ErrorKind::kUnsupported, field, "{}", message);
}

// Calls visit(pointer, bytes) for every tensor; the pointer may be replaced.
template <typename Visit>
void for_each_tensor(const ModelConfig& config, const Shard& shard, Weights& w, Visit visit) {
  const auto vector = [&](const float*& pointer, int64_t count) {
    const void* data = pointer;
    visit(data, static_cast<size_t>(count) * sizeof(float));
    pointer = static_cast<const float*>(data);
  };
  const auto matrix = [&](Matrix& m) {
    visit(m.data, m.bytes());
    if (m.scales != nullptr) vector(m.scales, m.count * m.scales_a_matrix());
  };
  matrix(w.embed);
  for (LayerWeights& layer : w.layers) {
    vector(layer.input_norm, config.hidden_size);
    matrix(layer.qkv);
    vector(layer.q_norm, int64_t{shard.num_heads} * config.head_dim);
    vector(layer.k_norm, int64_t{shard.num_kv_heads} * config.head_dim);
    matrix(layer.o_proj);
    vector(layer.post_norm, config.hidden_size);
    vector(layer.gate, int64_t{config.num_experts} * config.hidden_size);
    vector(layer.gate_bias, config.num_experts);
    matrix(layer.gate_up);
    matrix(layer.down);
  }
  vector(w.final_norm, config.hidden_size);
  matrix(w.lm_head);
}

}  // namespace

Status CudaOps::check(const ModelConfig& config, const Shard& shard) {
  if (shard.size != 1) {
    return unsupported("tensor-parallel-size",
                       fmt::format("tensor parallel size {} is not served on GPUs yet: this "
                                   "version runs one rank",
                                   shard.size));
  }
  if (config.head_dim != 64 && config.head_dim != 128) {
    return unsupported("head_dim", fmt::format("head_dim {} is not served on GPUs: 64 and 128 are",
                                               config.head_dim));
  }
  if (config.hidden_size % 64 != 0 || shard.expert_columns % 64 != 0 ||
      config.hidden_size > cuda::kMaxNormWidth) {
    return unsupported("hidden_size",
                       fmt::format("hidden size {} and expert width {} must be multiples of 64, "
                                   "and the former at most {}, on GPUs",
                                   config.hidden_size, shard.expert_columns, cuda::kMaxNormWidth));
  }
  const int32_t group = shard.num_heads / shard.num_kv_heads;
  if (group > cuda::kMaxGroup) {
    return unsupported("num_attention_heads",
                       fmt::format("{} query heads a KV head; at most {} are served on GPUs", group,
                                   cuda::kMaxGroup));
  }
  if (config.num_experts > cuda::kMaxExperts ||
      config.experts_per_token > cuda::kMaxExpertsPerToken) {
    return unsupported("num_local_experts",
                       fmt::format("{} experts, {} a token; at most {} and {} are served on GPUs",
                                   config.num_experts, config.experts_per_token, cuda::kMaxExperts,
                                   cuda::kMaxExpertsPerToken));
  }
  return {};
}

Status CudaOps::check(const OpsLimits& limits) {
  if (limits.kv_dtype != DType::kBF16 && limits.kv_dtype != DType::kF8E4M3) {
    return unsupported("kv-cache-dtype",
                       fmt::format("GPUs keep keys and values in bfloat16 or fp8, not in {}",
                                   dtype_name(limits.kv_dtype)));
  }
  if (limits.block_tokens % cuda::kKeyGroup != 0) {
    return invalid("block-size", "block-size must be a multiple of {} on GPUs, got {}",
                   cuda::kKeyGroup, limits.block_tokens);
  }
  return {};
}

CudaOps::CudaOps(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
                 int32_t device, const GraphOptions& graphs)
    : config_(config),
      shard_(shard),
      limits_(limits),
      device_(device),
      graphs_(graphs, limits),
      block_stamp_(device < 0 ? 0 : limits.num_blocks) {}

bool CudaOps::single_served() const {
  const auto serves = [&](LinearKind kind, int64_t rows, int64_t columns, int32_t tokens) {
    const Matrix shape{.data = nullptr,
                       .scales = nullptr,
                       .dtype = DType::kF8E4M3,
                       .rows = rows,
                       .columns = columns};
    cuda::SingleArgs args = single(kind, shape, nullptr, nullptr, 0);
    args.linear.tokens = tokens;
    return cuda::single_serves(args, {stream_, overlap_, async_copies_, shared_bytes_, {}});
  };
  return config_.fp8() && shard_.size == 1 &&
         serves(LinearKind::kStore, qkv_width(), config_.hidden_size, cuda::kMostSingleTokens) &&
         serves(LinearKind::kAdd, config_.hidden_size, q_width(), 1) &&
         serves(LinearKind::kGateUp, 2 * shard_.expert_columns, config_.hidden_size, 1) &&
         serves(LinearKind::kDown, config_.hidden_size, shard_.expert_columns, 1);
}

int64_t CudaOps::max_tiles() const {
  return max_pairs() / cuda::kBulkTileTokens + std::min<int64_t>(shard_.num_experts, max_pairs());
}

size_t CudaOps::kv_plane_bytes() const {
  // One more than the engine's: what padding rows store goes there.
  return (size_t(limits_.num_blocks) + 1) * shard_.num_kv_heads * limits_.block_tokens *
         config_.head_dim * dtype_bytes(limits_.kv_dtype);
}

size_t CudaOps::carve(std::byte* base) {
  Carver memory(base, kAlignment);
  const int64_t tokens = max_tokens(), hidden = config_.hidden_size;
  const int64_t shares =
      shard_.num_heads * cuda::most_attention_shares(max_rows(), shard_.num_kv_heads);
  memory.take(inverse_frequency_, config_.rotary_dim / 2);
  memory.take(last_token_, limits_.max_sequences);
  memory.take(hidden_, tokens * hidden);
  memory.take(normed_, tokens * hidden);
  memory.take(squares_, int64_t{cuda::kMostSingleTokens} * qkv_width() / 16);
  memory.take(partial_, shares * config_.head_dim);
  memory.take(softmax_, shares);
  memory.take(shares_done_, int64_t{max_rows()} * shard_.num_kv_heads);
  memory.take(rotation_, tokens * config_.rotary_dim / 2);
  memory.take(router_, (tokens + int64_t{cuda::kRouterTile} * cuda::kMostRouterSplits) *
                           config_.num_experts);
  memory.take(chosen_, max_pairs());
  memory.take(expert_weights_, max_pairs());
  memory.take(tokens_done_, 1);
  memory.take(lists_.begin, shard_.num_experts + 1);
  memory.take(lists_.pair_token, max_pairs());
  memory.take(lists_.place, max_pairs());
  memory.take(lists_.active, shard_.num_experts);
  memory.take(lists_.num_active, 1);
  memory.take(lists_.tiles, max_tiles());
  memory.take(lists_.num_tiles, 1);
  memory.take(down_, max_pairs() * hidden);
  memory.take(sampled_, limits_.max_sample_rows * hidden);
  memory.take(logits_, limits_.max_sample_rows * shard_.vocab_count);
  // A step's layers have ended when its logits are edited, and they leave nothing in these.
  Carver layers = memory.part(), sampling = memory.part();
  layers.take(exact_normed_, tokens * hidden);
  layers.take(qkv_, tokens * qkv_width());
  layers.take(q_, tokens * q_width());
  layers.take(attended_, tokens * q_width());
  layers.take(activated_, max_pairs() * shard_.expert_columns);
  sampling.take(edited_, limits_.max_sample_rows * shard_.vocab_count);
  memory.take({layers, sampling});
  return memory.bytes();
}

OpsMemory CudaOps::memory_for(const ModelConfig& config, const Shard& shard,
                              const OpsLimits& limits, const GraphOptions& graphs) {
  CudaOps counter(config, shard, limits, -1, graphs);
  OpsMemory memory;
  memory.kv_bytes = size_t{2} * config.num_layers * counter.kv_plane_bytes();
  memory.scratch_bytes = counter.carve(nullptr) +
                         StepUpload::at(nullptr, limits, counter.group(), counter.largest()).bytes +
                         SampleQueue::bytes(limits, config.vocab_size) + kAllocations * kGranule +
                         size_t(limits.max_sequences) * config.vocab_size * sizeof(uint16_t);
  memory.graph_bytes = counter.graphs_.bytes(config.num_layers);
  return memory;
}

Result<std::unique_ptr<CudaOps>> CudaOps::create(const ModelConfig& config, const Shard& shard,
                                                 const OpsLimits& limits, int32_t device,
                                                 const GraphOptions& graphs, bool note_times) {
  M2_TRY(check(config, shard));
  M2_TRY(check(limits));
  std::unique_ptr<CudaOps> ops(new CudaOps(config, shard, limits, device, graphs));
  if (note_times) {
    M2_ASSIGN(ops->stamps_, KernelStamps::make(config.num_layers));
  }
  M2_TRY(ops->allocate());
  return ops;
}

Status CudaOps::allocate() {
  M2_TRY(cuda_status(cudaSetDevice(device_), "cudaSetDevice"));
  M2_TRY(cuda_status(
      cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device_),
      "cudaDeviceGetAttribute"));
  M2_TRY(choose_code());
  M2_ASSIGN(mark_, KernelMark::make());
  serves_single_ = single_served();
  M2_TRY(cuda_status(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"));
  const size_t kv_bytes = size_t{2} * config_.num_layers * kv_plane_bytes();
  // A model without layers, as tests use, has no cache.
  M2_ASSIGN(kv_memory_, DeviceMemory::make(std::max(kv_bytes, kAlignment), "the KV cache"));
  M2_ASSIGN(scratch_memory_, DeviceMemory::make(carve(nullptr), "working memory"));
  carve(scratch_memory_.data());
  const size_t counts_bytes = size_t(limits_.max_sequences) * config_.vocab_size * 2;
  M2_ASSIGN(counts_memory_, DeviceMemory::make(counts_bytes, "penalty counts"));
  M2_ASSIGN(step_upload_, Upload::make(StepUpload::at(nullptr, limits_, group(), largest()).bytes));
  step_ = StepUpload::at(step_upload_.device(), limits_, group(), largest());
  for (Event& event : unsampled_) {
    M2_ASSIGN(event, Event::make());
  }
  M2_ASSIGN(head_upload_, Upload::make(limits_.max_sample_rows * sizeof(int32_t)));
  sampled_rows_.reserve(limits_.max_sample_rows);
  M2_ASSIGN(samples_, SampleQueue::make(limits_, config_.vocab_size,
                                        {.logits = logits_,
                                         .stride = static_cast<int32_t>(shard_.vocab_count),
                                         .real_vocab = limits_.real_vocab,
                                         .vocab = config_.vocab_size,
                                         .work = edited_,
                                         .last_token = last_token_}));
  std::vector<float> frequencies;
  for (int32_t i = 0; i < config_.rotary_dim / 2; ++i) {
    // Rounded to float as the reference's table is.
    frequencies.push_back(
        static_cast<float>(std::pow(config_.rope_theta, -2.0 * i / config_.rotary_dim)));
  }
  M2_TRY(cuda_status(cudaMemcpy(inverse_frequency_, frequencies.data(),
                                frequencies.size() * sizeof(float), cudaMemcpyHostToDevice),
                     "cudaMemcpy"));
  return cuda_status(cudaDeviceSynchronize(), "construction");
}

// Code that the device compiled for itself, or that was made for an older one to test it, keeps to
// what it was written for.
Status CudaOps::choose_code() {
  int shared_bytes = 0, major = 0, minor = 0;
  const std::pair<int*, cudaDeviceAttr> wanted[] = {
      {&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin},
      {&major, cudaDevAttrComputeCapabilityMajor},
      {&minor, cudaDevAttrComputeCapabilityMinor}};
  for (const auto& [value, attribute] : wanted) {
    M2_TRY(
        cuda_status(cudaDeviceGetAttribute(value, attribute, device_), "cudaDeviceGetAttribute"));
  }
  const int32_t generation = cuda::code_generation();
  overlap_ = generation >= 90;
  async_copies_ = generation >= 80;
  shared_bytes_ = static_cast<size_t>(shared_bytes);
  if (generation != 10 * major + minor) {
    shared_bytes_ = std::min(shared_bytes_, cuda::least_shared_bytes(generation));
  }
  return {};
}

CudaOps::~CudaOps() {
  if (stream_ == nullptr) return;  // counted only
  (void)cudaSetDevice(device_);
  (void)cudaStreamSynchronize(stream_);
  (void)cudaStreamDestroy(stream_);
}

Status CudaOps::adopt(Weights& weights) {
  activate();
  cudaPointerAttributes where{};
  M2_TRY(cuda_status(cudaPointerGetAttributes(&where, weights.embed.data), "adopt"));
  if (where.type == cudaMemoryTypeDevice) return {};
  // The host's block, from its first tensor to the end of its last.
  const std::byte *begin = nullptr, *end = nullptr;
  for_each_tensor(config_, shard_, weights, [&](const void*& data, size_t bytes) {
    if (bytes == 0) return;
    const auto* own = static_cast<const std::byte*>(data);
    begin = begin == nullptr ? own : std::min(begin, own);
    end = end == nullptr ? own + bytes : std::max(end, own + bytes);
  });
  const auto bytes = static_cast<size_t>(end - begin);
  M2_ASSIGN(weights_memory_, DeviceMemory::make(bytes, "the weights"));
  M2_TRY(cuda_status(cudaMemcpy(weights_memory_.data(), begin, bytes, cudaMemcpyHostToDevice),
                     "copying the weights"));
  // From pageable memory a copy may return before its end, and the ops' stream waits for no other.
  M2_TRY(cuda_status(cudaDeviceSynchronize(), "copying the weights"));
  for_each_tensor(config_, shard_, weights, [&](const void*& data, size_t) {
    if (data != nullptr) {
      data = weights_memory_.data() + (static_cast<const std::byte*>(data) - begin);
    }
  });
  return {};
}

}  // namespace m2
