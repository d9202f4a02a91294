#include "model/shard.h"

#include <algorithm>

#include "model/config.h"
#include "model/layout.h"
#include "model/weights.h"

namespace m2 {
namespace {

// Ranks' slices of the vocabulary are whole multiples of this; the last ones may be shorter.
constexpr int64_t kVocabStep = 16;

Status check_sizes(const ModelConfig& config, const Parallelism& parallelism) {
  const int32_t ranks = parallelism.tensor_parallel;
  if (ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8) {
    return invalid(
        "tensor-parallel-size",
        "tensor parallel size {} is not served: it must be 1, 2, 4 or 8 (at 16, a rank's "
        "slice of an expert would be 96 columns, which cuts through the tiles of 64 that "
        "share a scale)",
        ranks);
  }
  if (config.num_heads % ranks != 0) {
    return invalid("tensor-parallel-size", "{} attention heads do not divide over {} ranks",
                   config.num_heads, ranks);
  }
  if (config.num_kv_heads % ranks != 0 && ranks % config.num_kv_heads != 0) {
    return invalid("tensor-parallel-size", "{} key/value heads do not divide over {} ranks",
                   config.num_kv_heads, ranks);
  }
  if (ranks > 1 && config.head_dim % kScaleTile != 0) {
    return invalid("tensor-parallel-size", "heads of {} cannot be cut at multiples of {}",
                   config.head_dim, kScaleTile);
  }
  if (parallelism.expert_parallel && config.num_experts % ranks != 0) {
    return invalid("enable-expert-parallel", "{} experts do not divide over {} ranks",
                   config.num_experts, ranks);
  }
  if (!parallelism.expert_parallel && ranks > 1 &&
      config.expert_width % (ranks * kScaleTile) != 0) {
    return invalid("tensor-parallel-size",
                   "an expert's {} columns over {} ranks are not a multiple of {} each; "
                   "--enable-expert-parallel keeps experts whole",
                   config.expert_width, ranks, kScaleTile);
  }
  return {};
}

// Makes slices. `rows`/`columns` are those of the whole tensor in the file.
class Slicer {
 public:
  Slicer(std::vector<TensorSlice>& slices, bool fp8) : slices_(slices), fp8_(fp8) {}

  // All columns (or, with column_count, some) of rows that land at row `row` of the index-th
  // matrix.
  TensorSlice& matrix(std::string name, SliceFormat format, const Place& place, int64_t index,
                      int64_t row, int64_t rows, int64_t columns) {
    TensorSlice& slice = slices_.emplace_back();
    slice.name = std::move(name);
    slice.format = format;
    slice.rows = slice.row_count = rows;
    slice.columns = slice.column_count = columns;
    slice.offset = place.row_offset(index, row);
    if (fp8_ && format == SliceFormat::kQuantised) {
      slice.scale_offset = place.row_scale_offset(index, row);
    }
    return slice;
  }

  TensorSlice& vector(std::string name, const Place& place, int64_t size) {
    TensorSlice& slice = matrix(std::move(name), SliceFormat::kF32, place, 0, 0, 1, size);
    slice.is_vector = true;
    return slice;
  }

 private:
  std::vector<TensorSlice>& slices_;
  const bool fp8_;
};

void cut_rows(TensorSlice& slice, int64_t begin, int64_t count) {
  slice.row_begin = begin;
  slice.row_count = count;
}

void cut_columns(TensorSlice& slice, int64_t begin, int64_t count) {
  slice.column_begin = begin;
  slice.column_count = count;
}

void slice_attention(Slicer& slicer, const ModelConfig& config, const Shard& shard,
                     const std::string& prefix, const LayerLayout& layer) {
  const int64_t head = config.head_dim, hidden = config.hidden_size;
  const int64_t q_begin = shard.head_begin * head, q_count = shard.num_heads * head;
  const int64_t kv_begin = shard.kv_head_begin * head, kv_count = shard.num_kv_heads * head;
  const std::string attention = prefix + "self_attn.";
  slicer.vector(prefix + "input_layernorm.weight", layer.input_norm, hidden);
  cut_rows(slicer.matrix(attention + "q_proj.weight", SliceFormat::kQuantised, layer.qkv, 0, 0,
                         config.q_width(), hidden),
           q_begin, q_count);
  cut_rows(slicer.matrix(attention + "k_proj.weight", SliceFormat::kQuantised, layer.qkv, 0,
                         q_count, config.kv_width(), hidden),
           kv_begin, kv_count);
  cut_rows(slicer.matrix(attention + "v_proj.weight", SliceFormat::kQuantised, layer.qkv, 0,
                         q_count + kv_count, config.kv_width(), hidden),
           kv_begin, kv_count);
  cut_columns(slicer.vector(attention + "q_norm.weight", layer.q_norm, config.q_width()), q_begin,
              q_count);
  cut_columns(slicer.vector(attention + "k_norm.weight", layer.k_norm, config.kv_width()), kv_begin,
              kv_count);
  cut_columns(slicer.matrix(attention + "o_proj.weight", SliceFormat::kQuantised, layer.o_proj, 0,
                            0, hidden, config.q_width()),
              q_begin, q_count);
}

void slice_experts(Slicer& slicer, const ModelConfig& config, const Shard& shard,
                   const std::string& prefix, const LayerLayout& layer) {
  const int64_t hidden = config.hidden_size, width = config.expert_width;
  const int64_t begin = shard.expert_column_begin, count = shard.expert_columns;
  const std::string moe = prefix + "block_sparse_moe.";
  slicer.vector(prefix + "post_attention_layernorm.weight", layer.post_norm, hidden);
  slicer.matrix(moe + "gate.weight", SliceFormat::kF32, layer.gate, 0, 0, config.num_experts,
                hidden);
  if (config.use_routing_bias) {
    slicer.vector(moe + "e_score_correction_bias", layer.gate_bias, config.num_experts);
  }
  for (int64_t i = 0; i < shard.num_experts; ++i) {
    const std::string expert = moe + "experts." + std::to_string(shard.expert_begin + i) + ".";
    cut_rows(slicer.matrix(expert + "w1.weight", SliceFormat::kQuantised, layer.gate_up, i, 0,
                           width, hidden),
             begin, count);
    cut_rows(slicer.matrix(expert + "w3.weight", SliceFormat::kQuantised, layer.gate_up, i, count,
                           width, hidden),
             begin, count);
    cut_columns(slicer.matrix(expert + "w2.weight", SliceFormat::kQuantised, layer.down, i, 0,
                              hidden, width),
                begin, count);
  }
}

}  // namespace

Result<Shard> make_shard(const ModelConfig& config, const Parallelism& parallelism, int32_t rank) {
  M2_TRY(check_sizes(config, parallelism));
  const int32_t ranks = parallelism.tensor_parallel;
  Shard shard;
  shard.rank = rank;
  shard.size = ranks;
  shard.num_heads = config.num_heads / ranks;
  shard.head_begin = rank * shard.num_heads;
  shard.kv_replicas = std::max(1, ranks / config.num_kv_heads);
  shard.num_kv_heads = std::max(1, config.num_kv_heads / ranks);
  shard.kv_head_begin = rank / shard.kv_replicas * shard.num_kv_heads;
  const int64_t rows =
      ((config.vocab_size + ranks - 1) / ranks + kVocabStep - 1) / kVocabStep * kVocabStep;
  const int64_t share = ranks == 1 ? config.vocab_size : rows;
  shard.vocab_share = share;
  shard.vocab_begin = std::min<int64_t>(rank * share, config.vocab_size);
  shard.vocab_count = std::min<int64_t>(share, config.vocab_size - shard.vocab_begin);
  if (parallelism.expert_parallel) {
    shard.num_experts = config.num_experts / ranks;
    shard.expert_begin = rank * shard.num_experts;
    shard.expert_columns = config.expert_width;
  } else {
    shard.num_experts = config.num_experts;
    shard.expert_columns = config.expert_width / ranks;
    shard.expert_column_begin = rank * shard.expert_columns;
  }
  return shard;
}

std::vector<TensorSlice> tensor_slices(const ModelConfig& config, const Shard& shard) {
  const WeightsLayout layout = make_layout(config, shard);
  std::vector<TensorSlice> slices;
  Slicer slicer(slices, config.fp8());
  cut_rows(slicer.matrix("model.embed_tokens.weight", SliceFormat::kBF16, layout.embed, 0, 0,
                         config.vocab_size, config.hidden_size),
           shard.vocab_begin, shard.vocab_count);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    slice_attention(slicer, config, shard, prefix, layout.layers[i]);
    slice_experts(slicer, config, shard, prefix, layout.layers[i]);
  }
  slicer.vector("model.norm.weight", layout.final_norm, config.hidden_size);
  cut_rows(slicer.matrix("lm_head.weight", SliceFormat::kBF16, layout.lm_head, 0, 0,
                         config.vocab_size, config.hidden_size),
           shard.vocab_begin, shard.vocab_count);
  return slices;
}

std::vector<TensorSlice> checkpoint_tensors(const ModelConfig& config) {
  Shard whole;
  whole.num_heads = config.num_heads;
  whole.num_kv_heads = config.num_kv_heads;
  whole.vocab_count = config.vocab_size;
  whole.num_experts = config.num_experts;
  whole.expert_columns = config.expert_width;
  return tensor_slices(config, whole);
}

}  // namespace m2
