#include "loader/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "model/weights.h"
#include "tests/loader/test_files.h"

namespace m2 {
namespace {

using test::Tensors;

#define EXPECT_ERROR(error, part) EXPECT_NE((error).find(part), std::string::npos) << (error)

std::string open_error(const test::TemporaryFolder& folder, const ModelConfig& config) {
  const auto checkpoint = Checkpoint::open(folder.path(), config);
  return checkpoint ? "" : checkpoint.error().message;
}

// A linear layer of the checkpoint.
class Linear {
 public:
  Linear(const Tensors& tensors, const std::string& name) : weight_(tensors.at(name)) {
    const auto scales = tensors.find(name + "_scale_inv");
    if (scales != tensors.end()) scales_ = &scales->second;
  }
  float at(int64_t row, int64_t column) const {
    const float stored = weight_.at(row * weight_.shape[1] + column);
    return scales_ ? stored * scales_->at(row / 128 * scales_->shape[1] + column / 128) : stored;
  }

 private:
  const test::Tensor& weight_;
  const test::Tensor* scales_ = nullptr;
};

// A weight from a rank's memory.
float weight_of(const Matrix& matrix, int64_t row, int64_t column) {
  const int64_t at = row * matrix.columns + column;
  if (matrix.dtype == DType::kBF16) {
    return bf16_to_float(static_cast<const bf16_t*>(matrix.data)[at]);
  }
  return f8_to_float(static_cast<const f8_t*>(matrix.data)[at]) *
         matrix.scales[row / 64 * scale_tiles(matrix.columns) + column / 64];
}

// Rows [row, row + count) of `matrix` are those of `name` from (first_row, first_column).
void expect_rows(const Tensors& tensors, const std::string& name, int64_t first_row,
                 int64_t first_column, const Matrix& matrix, int64_t row, int64_t count) {
  const Linear linear(tensors, name);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < matrix.columns; ++j) {
      ASSERT_EQ(weight_of(matrix, row + i, j), linear.at(first_row + i, first_column + j))
          << name << " at " << first_row + i << "," << first_column + j;
    }
  }
}

void expect_floats(const Tensors& tensors, const std::string& name, int64_t first, int64_t count,
                   const float* values) {
  const test::Tensor& tensor = tensors.at(name);
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(values[i], tensor.at(first + i)) << name << " at " << first + i;
  }
}

void expect_layer(const Tensors& tensors, const ModelConfig& config, const Shard& shard,
                  int32_t index, const LayerWeights& layer) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.", moe = prefix + "block_sparse_moe.";
  const int64_t q = shard.num_heads * config.head_dim, kv = shard.num_kv_heads * config.head_dim;
  const int64_t q_begin = shard.head_begin * config.head_dim;
  const int64_t kv_begin = shard.kv_head_begin * config.head_dim;
  expect_rows(tensors, attention + "q_proj.weight", q_begin, 0, layer.qkv, 0, q);
  expect_rows(tensors, attention + "k_proj.weight", kv_begin, 0, layer.qkv, q, kv);
  expect_rows(tensors, attention + "v_proj.weight", kv_begin, 0, layer.qkv, q + kv, kv);
  expect_rows(tensors, attention + "o_proj.weight", 0, q_begin, layer.o_proj, 0,
              config.hidden_size);
  expect_floats(tensors, attention + "q_norm.weight", q_begin, q, layer.q_norm);
  expect_floats(tensors, attention + "k_norm.weight", kv_begin, kv, layer.k_norm);
  expect_floats(tensors, prefix + "input_layernorm.weight", 0, config.hidden_size,
                layer.input_norm);
  expect_floats(tensors, prefix + "post_attention_layernorm.weight", 0, config.hidden_size,
                layer.post_norm);
  expect_floats(tensors, moe + "gate.weight", 0, config.num_experts * config.hidden_size,
                layer.gate);
  expect_floats(tensors, moe + "e_score_correction_bias", 0, config.num_experts, layer.gate_bias);
  for (int32_t i = 0; i < shard.num_experts; ++i) {
    const std::string expert = moe + "experts." + std::to_string(shard.expert_begin + i) + ".";
    const int64_t begin = shard.expert_column_begin, count = shard.expert_columns;
    expect_rows(tensors, expert + "w1.weight", begin, 0, layer.gate_up.at(i), 0, count);
    expect_rows(tensors, expert + "w3.weight", begin, 0, layer.gate_up.at(i), count, count);
    expect_rows(tensors, expert + "w2.weight", 0, begin, layer.down.at(i), 0, config.hidden_size);
  }
}

// Loads every rank of a layout and compares every element with the file's.
void expect_loads(const ModelConfig& config, const Parallelism& parallelism, int threads) {
  const Tensors tensors = test::tiny_checkpoint(config);
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  const auto checkpoint = Checkpoint::open(folder.path(), config);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->num_files(), 2u);
  EXPECT_EQ(checkpoint->num_tensors(), tensors.size());
  for (int32_t rank = 0; rank < parallelism.tensor_parallel; ++rank) {
    const auto shard = make_shard(config, parallelism, rank);
    ASSERT_TRUE(shard.has_value()) << shard.error().message;
    HostMemory memory(weights_bytes(config, *shard));
    const Status loaded = checkpoint->load(*shard, threads, memory.data());
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
    const Weights weights = weights_at(config, *shard, memory.data());
    expect_rows(tensors, "model.embed_tokens.weight", shard->vocab_begin, 0, weights.embed, 0,
                shard->vocab_count);
    expect_rows(tensors, "lm_head.weight", shard->vocab_begin, 0, weights.lm_head, 0,
                shard->vocab_count);
    expect_floats(tensors, "model.norm.weight", 0, config.hidden_size, weights.final_norm);
    for (int32_t i = 0; i < config.num_layers; ++i) {
      expect_layer(tensors, config, *shard, i, weights.layers[i]);
    }
  }
}

TEST(CheckpointTest, LoadsOneRank) { expect_loads(test::tiny_config(), {}, 1); }

TEST(CheckpointTest, LoadsOnSeveralThreads) { expect_loads(test::tiny_config(), {}, 4); }

TEST(CheckpointTest, LoadsSlicesThatStraddleScaleBlocks) {
  expect_loads(test::tiny_config(), {.tensor_parallel = 2, .expert_parallel = false}, 2);
}

TEST(CheckpointTest, LoadsWholeExpertsOfARank) {
  expect_loads(test::tiny_config(), {.tensor_parallel = 4, .expert_parallel = true}, 2);
}

// What a rank asks the files for: its rows; of a tensor cut by columns, from its first element to
// its last; and the scales of the blocks that its rows lie in.
size_t bytes_of_slices(const ModelConfig& config, const Shard& shard, const Tensors& tensors) {
  size_t bytes = 0;
  for (const TensorSlice& slice : tensor_slices(config, shard)) {
    if (slice.row_count == 0) continue;
    const int64_t count = (slice.row_count - 1) * slice.columns + slice.column_count;
    bytes += count * dtype_bytes(tensors.at(slice.name).dtype);
    if (!tensors.contains(slice.name + "_scale_inv")) continue;
    const int64_t last_row = slice.row_begin + slice.row_count - 1;
    bytes += (last_row / 128 - slice.row_begin / 128 + 1) * ((slice.columns + 127) / 128) * 4;
  }
  return bytes;
}

TEST(CheckpointTest, ARankReadsItsOwnSlices) {
  const ModelConfig config = test::tiny_config();
  const Tensors tensors = test::tiny_checkpoint(config);
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  size_t whole = 0;
  for (const auto& [name, tensor] : tensors) whole += tensor.bytes.size();
  for (const Parallelism layout : {Parallelism{1, false}, {2, false}, {2, true}, {4, true}}) {
    for (int32_t rank = 0; rank < layout.tensor_parallel; ++rank) {
      const auto checkpoint = Checkpoint::open(folder.path(), config);
      ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
      EXPECT_EQ(checkpoint->bytes_read(), 0u);
      const Shard shard = make_shard(config, layout, rank).value();
      HostMemory memory(weights_bytes(config, shard));
      ASSERT_TRUE(checkpoint->load(shard, 1, memory.data()).has_value());
      EXPECT_EQ(checkpoint->bytes_read(), bytes_of_slices(config, shard, tensors));
      if (layout.tensor_parallel == 1) {
        EXPECT_LE(checkpoint->bytes_read(), whole);
      } else if (layout.expert_parallel) {
        // Whole experts and rows; o_proj alone is cut by columns.
        EXPECT_LT(checkpoint->bytes_read(), whole * 5 / 4 / layout.tensor_parallel);
      }
    }
  }
}

TEST(CheckpointTest, LoadsBf16WithoutScales) {
  const ModelConfig config = test::tiny_config(WeightFormat::kBF16);
  expect_loads(config, {}, 1);
  expect_loads(config, {.tensor_parallel = 2, .expert_parallel = false}, 1);
}

TEST(CheckpointTest, LoadsOneFileWithoutAnIndex) {
  const ModelConfig config = test::tiny_config();
  const test::TemporaryFolder folder;
  test::write_file(folder / "model.safetensors",
                   test::safetensors_bytes(test::tiny_checkpoint(config)));
  EXPECT_EQ(open_error(folder, config), "");
}

TEST(CheckpointTest, IgnoresWhatTheModelDoesNotRun) {
  const ModelConfig config = test::tiny_config();
  Tensors tensors = test::tiny_checkpoint(config);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {DType::kF32, {1}, "1234"};
  tensors["model.layers.4.eh_proj.weight"] = {DType::kU8, {1}, "1"};  // the last MTP layer
  tensors["model.norm.weight"] = {DType::kF32, {256}, std::string(1024, '\0')};
  const std::string scale = "model.layers.0.self_attn.o_proj.weight_scale_inv";
  tensors[scale] = {DType::kBF16, {2, 2}, std::string("\0\x40\0\x40\0\x40\0\x40", 8)};
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  const auto checkpoint = Checkpoint::open(folder.path(), config);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  const Shard shard = make_shard(config, {}, 0).value();
  HostMemory memory(weights_bytes(config, shard));
  ASSERT_TRUE(checkpoint->load(shard, 1, memory.data()).has_value());
  const Weights weights = weights_at(config, shard, memory.data());
  EXPECT_EQ(weights.layers[0].o_proj.scales[0], 2.0f);
}

TEST(CheckpointTest, ReportsAllFaultsAtOnce) {
  const ModelConfig config = test::tiny_config();
  Tensors tensors = test::tiny_checkpoint(config);
  for (int i = 0; i < 4; ++i) {
    const std::string expert = "model.layers.1.block_sparse_moe.experts." + std::to_string(i) + ".";
    for (const char* w : {"w1", "w2", "w3"}) {
      tensors.erase(expert + w + ".weight");
      tensors.erase(expert + w + ".weight_scale_inv");
    }
  }
  tensors["model.layers.5.eh_proj.weight"] = {DType::kU8, {1}, "1"};  // past the MTP layers
  tensors["model.layers.0.self_attn.q_proj.bias"] = {DType::kU8, {1}, "1"};
  tensors["lm_head.weight"] = {DType::kBF16, {24, 256}, std::string(24 * 512, '\0')};
  tensors["model.norm.weight"] = {DType::kBF16, {1, 256}, std::string(512, '\0')};
  tensors["model.layers.0.self_attn.o_proj.weight"] = {
      DType::kBF16, {256, 256}, std::string(256 * 512, '\0')};
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  const std::string error = open_error(folder, config);
  EXPECT_ERROR(error, "24 missing:\n");
  EXPECT_ERROR(error, "model.layers.1.block_sparse_moe.experts.0.w1.weight_scale_inv\n");
  EXPECT_ERROR(error, "and 4 more");
  EXPECT_ERROR(error,
               "2 that the model does not have:\n    model.layers.0.self_attn.q_proj.bias\n");
  EXPECT_ERROR(error, "model.layers.5.eh_proj.weight");
  EXPECT_ERROR(error, "3 of another type or shape:\n");
  EXPECT_ERROR(error, "lm_head.weight is BF16 [24,256], must be BF16 [48,256]");
  EXPECT_ERROR(error, "model.norm.weight is BF16 [1,256], must be F32 [256]");
  EXPECT_ERROR(error, "o_proj.weight is BF16 [256,256], must be F8_E4M3 [256,256]");
}

TEST(CheckpointTest, TheIndexIsTheTruth) {
  const ModelConfig config = test::tiny_config();
  Tensors tensors = test::tiny_checkpoint(config);
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  // A tensor that the index does not place in a file is not seen there.
  const Tensors stray{{"stray", {DType::kU8, {1}, "1"}}};
  test::write_file(folder / "model-00009-of-00007.safetensors", test::safetensors_bytes(stray));
  EXPECT_EQ(open_error(folder, config), "");
  // One that it places in the wrong file is missing, and the file is named.
  const std::string path = folder / "model.safetensors.index.json";
  std::string index = test::read_file(path);
  const std::string right = R"("lm_head.weight":"model-00000-of)";
  ASSERT_NE(index.find(right), std::string::npos);
  index.replace(index.find(right), right.size(), R"("lm_head.weight":"model-00009-of)");
  test::write_file(path, index);
  const std::string error = open_error(folder, config);
  EXPECT_ERROR(error, "1 missing:\n    lm_head.weight (indexed, but not in ");
  EXPECT_ERROR(error, "model-00009-of-00007.safetensors)");
}

TEST(CheckpointTest, NamesAllMissingFiles) {
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, test::tiny_checkpoint(test::tiny_config()));
  std::filesystem::remove(folder / "model-00000-of-00007.safetensors");
  std::filesystem::remove(folder / "model-00001-of-00007.safetensors");
  const std::string error = open_error(folder, test::tiny_config());
  EXPECT_ERROR(error,
               "2 of 2 weight files are missing: model-00000-of-00007.safetensors, "
               "model-00001-of-00007.safetensors");
}

TEST(CheckpointTest, RefusesFilesOutsideTheFolder) {
  const test::TemporaryFolder folder;
  for (const char* name :
       {"../model.safetensors", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\u0000b", "a\\\\b"}) {
    test::write_file(folder / "model.safetensors.index.json",
                     fmt::format(R"({{"weight_map":{{"lm_head.weight":"{}"}}}})", name));
    EXPECT_ERROR(open_error(folder, test::tiny_config()), "is no plain file name");
  }
  test::write_file(folder / "model.safetensors.index.json", R"({"weight_map":{"a":1}})");
  EXPECT_ERROR(open_error(folder, test::tiny_config()), "1 is no plain file name");
  test::write_file(folder / "model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_ERROR(open_error(folder, test::tiny_config()), "weight_map must be an object");
}

TEST(CheckpointTest, SaysWhatAnEmptyFolderLacks) {
  const test::TemporaryFolder folder;
  EXPECT_ERROR(open_error(folder, test::tiny_config()),
               "holds neither model.safetensors.index.json nor model.safetensors");
}

// What loading says of a whole checkpoint in which these bytes of a tensor are others.
std::string load_error(const std::string& tensor, size_t at, const std::string& bytes) {
  const ModelConfig config = test::tiny_config();
  Tensors tensors = test::tiny_checkpoint(config);
  tensors.at(tensor).bytes.replace(at, bytes.size(), bytes);
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, tensors);
  const auto checkpoint = Checkpoint::open(folder.path(), config);
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  const Shard shard = make_shard(config, {}, 0).value();
  HostMemory memory(weights_bytes(config, shard));
  const Status loaded = checkpoint->load(shard, 2, memory.data());
  return loaded ? "" : loaded.error().message;
}

TEST(CheckpointTest, RefusesWhatIsNoNumber) {
  const std::string nan("\0\0\xc0\x7f", 4), narrow_nan = nan.substr(2);
  const std::string layers = "model.layers.";
  EXPECT_ERROR(load_error(layers + "0.self_attn.o_proj.weight_scale_inv", 4, nan),
               "o_proj.weight_scale_inv[0,1] is nan, no finite number");
  // The router of even layers is in F32 here, of odd ones in BF16, as norms are.
  const std::string bias = ".block_sparse_moe.e_score_correction_bias";
  EXPECT_ERROR(load_error(layers + "0" + bias, 12, nan), "0" + bias + ": element 3 is nan");
  EXPECT_ERROR(load_error(layers + "1" + bias, 2, narrow_nan), "1" + bias + ": element 1 is nan");
  EXPECT_ERROR(load_error(layers + "0.block_sparse_moe.gate.weight", 4 * 256, nan),
               "gate.weight: element 256 is nan");
  EXPECT_ERROR(load_error("model.norm.weight", 0, narrow_nan), "model.norm.weight: element 0");
  // Whoever keeps an expert from being chosen may write so.
  EXPECT_EQ(load_error(layers + "0" + bias, 12, std::string("\0\0\x80\xff", 4)), "");
}

}  // namespace
}  // namespace m2
