// Slices of every layout together are the whole checkpoint, and scales of a slice are those of the
// blocks that its weights lie in.
#include "model/shard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "model/config.h"
#include "model/layout.h"

namespace m2 {
namespace {

ModelConfig real_shape() {
  ModelConfig config;
  config.hidden_size = 3072;
  config.num_layers = 2;
  config.num_heads = 48;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 1536;
  config.num_experts = 256;
  config.experts_per_token = 8;
  config.vocab_size = 200064;
  return config;
}

struct Layout {
  int32_t ranks;
  bool experts;
};

class EveryLayout : public ::testing::TestWithParam<Layout> {
 protected:
  Shard shard(int32_t rank) const {
    const auto made = make_shard(config_, {GetParam().ranks, GetParam().experts}, rank);
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  const ModelConfig config_ = real_shape();
};

// Every element of every sharded tensor is on exactly one rank; whole ones are on each.
TEST_P(EveryLayout, SlicesCoverTheCheckpoint) {
  std::map<std::string, int64_t> held;
  for (int32_t rank = 0; rank < GetParam().ranks; ++rank) {
    for (const TensorSlice& slice : tensor_slices(config_, shard(rank))) {
      EXPECT_LE(slice.row_begin + slice.row_count, slice.rows) << slice.name;
      EXPECT_LE(slice.column_begin + slice.column_count, slice.columns) << slice.name;
      held[slice.name] += slice.row_count * slice.column_count;
    }
  }
  for (const TensorSlice& whole : checkpoint_tensors(config_)) {
    const bool on_each = whole.name.find("layernorm") != std::string::npos ||
                         whole.name.find("gate.weight") != std::string::npos ||
                         whole.name.find("correction_bias") != std::string::npos ||
                         whole.name == "model.norm.weight";
    const int64_t copies = on_each ? GetParam().ranks : 1;
    EXPECT_EQ(held[whole.name], copies * whole.rows * whole.columns) << whole.name;
  }
}

TEST_P(EveryLayout, SlicesStartAtTilesAndDoNotOverlap) {
  const Shard part = shard(GetParam().ranks - 1);
  std::vector<TensorSlice> slices = tensor_slices(config_, part);
  std::sort(slices.begin(), slices.end(),
            [](const TensorSlice& a, const TensorSlice& b) { return a.offset < b.offset; });
  size_t end = 0;
  for (const TensorSlice& slice : slices) {
    if (slice.format == SliceFormat::kQuantised) {
      EXPECT_EQ(slice.row_begin % kScaleTile, 0) << slice.name;
      EXPECT_EQ(slice.column_begin % kScaleTile, 0) << slice.name;
      EXPECT_NE(slice.scale_offset, 0u) << slice.name;
    }
    EXPECT_GE(slice.offset, end) << slice.name;
    const size_t size = slice.format == SliceFormat::kQuantised ? 1
                        : slice.format == SliceFormat::kBF16    ? 2
                                                                : 4;
    end = slice.offset + slice.row_count * slice.column_count * size;
  }
  EXPECT_LE(end, weights_bytes(config_, part));
}

// The views of weights.h point to where the slices went.
TEST_P(EveryLayout, ViewsAndSlicesAgree) {
  const Shard part = shard(GetParam().ranks - 1);
  const auto* base = reinterpret_cast<const std::byte*>(uintptr_t{1} << 40);  // never read
  const Weights weights = weights_at(config_, part, base);
  std::map<std::string, TensorSlice> slices;
  for (TensorSlice& slice : tensor_slices(config_, part)) slices[slice.name] = slice;
  const auto at = [&](const std::string& name) {
    return base + slices.at("model.layers.1." + name).offset;
  };
  const LayerWeights& layer = weights.layers[1];
  const std::string expert =
      "block_sparse_moe.experts." + std::to_string(part.expert_begin + 3) + ".";
  const Matrix gate_up = layer.gate_up.at(3);
  const auto* rows = static_cast<const std::byte*>(gate_up.data);
  EXPECT_EQ(rows, at(expert + "w1.weight"));
  EXPECT_EQ(rows + part.expert_columns * config_.hidden_size, at(expert + "w3.weight"));
  const TensorSlice& up = slices.at("model.layers.1." + expert + "w3.weight");
  EXPECT_EQ(reinterpret_cast<const std::byte*>(
                gate_up.scales + part.expert_columns / 64 * scale_tiles(config_.hidden_size)),
            base + up.scale_offset);
  EXPECT_EQ(layer.down.at(3).data, at(expert + "w2.weight"));
  const auto* qkv = static_cast<const std::byte*>(layer.qkv.data);
  const int64_t q_rows = int64_t{part.num_heads} * config_.head_dim;
  const int64_t kv_rows = int64_t{part.num_kv_heads} * config_.head_dim;
  EXPECT_EQ(qkv, at("self_attn.q_proj.weight"));
  EXPECT_EQ(qkv + q_rows * config_.hidden_size, at("self_attn.k_proj.weight"));
  EXPECT_EQ(qkv + (q_rows + kv_rows) * config_.hidden_size, at("self_attn.v_proj.weight"));
  EXPECT_EQ(weights.lm_head.data, base + slices.at("lm_head.weight").offset);
}

INSTANTIATE_TEST_SUITE_P(Ranks, EveryLayout,
                         ::testing::Values(Layout{1, false}, Layout{2, false}, Layout{4, false},
                                           Layout{8, false}, Layout{1, true}, Layout{2, true},
                                           Layout{4, true}, Layout{8, true}),
                         [](const auto& info) {
                           return std::to_string(info.param.ranks) +
                                  (info.param.experts ? "WholeExperts" : "Sliced");
                         });

TEST(Shard, EightRanksCutExpertsInsideBlocks) {
  const auto shard = make_shard(real_shape(), {8, false}, 3);
  ASSERT_TRUE(shard);
  EXPECT_EQ(shard->expert_columns, 192);
  EXPECT_EQ(shard->expert_column_begin, 576);  // in the middle of a block of 128
}

TEST(Shard, RanksShareKvHeads) {
  ModelConfig config = real_shape();
  config.num_kv_heads = 2;
  std::set<int32_t> held;
  for (int32_t rank = 0; rank < 8; ++rank) {
    const auto shard = make_shard(config, {8, false}, rank);
    ASSERT_TRUE(shard);
    EXPECT_EQ(shard->num_kv_heads, 1);
    EXPECT_EQ(shard->kv_replicas, 4);
    EXPECT_EQ(shard->kv_head_begin, rank / 4);
    // The query heads of a rank belong to its KV head: 48 heads, 24 a KV head.
    EXPECT_EQ(shard->head_begin / 24, shard->kv_head_begin);
  }
}

TEST(Shard, RefusalsNameTheNumbers) {
  const ModelConfig config = real_shape();
  for (int32_t ranks : {0, 3, 6, 16, -1}) {
    const auto shard = make_shard(config, {ranks, false}, 0);
    ASSERT_FALSE(shard) << ranks;
    EXPECT_NE(shard.error().message.find(std::to_string(ranks)), std::string::npos);
    EXPECT_NE(shard.error().message.find("1, 2, 4 or 8"), std::string::npos);
  }
  ModelConfig narrow = config;
  narrow.expert_width = 384;
  const auto shard = make_shard(narrow, {8, false}, 0);
  ASSERT_FALSE(shard);
  EXPECT_NE(shard.error().message.find("384"), std::string::npos);
  EXPECT_TRUE(make_shard(narrow, {8, true}, 0)) << "whole experts are not cut";
}

TEST(Shard, SizesOfTheRealModel) {
  ModelConfig config = real_shape();
  config.num_layers = 62;
  const auto tensors = checkpoint_tensors(config);
  int64_t elements = 0, scales = 0;
  for (const TensorSlice& t : tensors) {
    elements += t.rows * t.columns;
    if (t.format == SliceFormat::kQuantised) scales += (t.rows / 128) * (t.columns / 128);
  }
  EXPECT_EQ(tensors.size(), 62u * (4 + 2 + 2 + 2 + 256 * 3) + 3);
  EXPECT_EQ(elements + scales, 228703644928);
}

}  // namespace
}  // namespace m2
