#include "tests/loader/test_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/check.h"

namespace m2::test {
namespace fs = std::filesystem;

void write_file(const std::string& path, std::string_view bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  M2_CHECK(file.good(), "{} cannot be written", path);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

float Tensor::at(int64_t index) const {
  const char* element = bytes.data() + index * dtype_bytes(dtype);
  if (dtype == DType::kF8E4M3) return f8_to_float(static_cast<f8_t>(*element));
  if (dtype == DType::kBF16) {
    bf16_t value;
    std::memcpy(&value, element, sizeof value);
    return bf16_to_float(value);
  }
  float value;
  std::memcpy(&value, element, sizeof value);
  return value;
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes.append(header).append(data);
}

std::string safetensors_bytes(const Tensors& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})", data;
  for (const size_t width : {8, 4, 2, 1}) {
    for (const auto& [name, tensor] : tensors) {
      if (dtype_bytes(tensor.dtype) != width) continue;
      header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name,
                            dtype_name(tensor.dtype), fmt::join(tensor.shape, ","), data.size(),
                            data.size() + tensor.bytes.size());
      data += tensor.bytes;
    }
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return safetensors_bytes(header, data);
}

ModelConfig tiny_config(WeightFormat format) {
  ModelConfig config;
  config.hidden_size = 256;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 64;
  config.rotary_dim = 32;
  config.expert_width = 384;
  config.num_experts = 4;
  config.experts_per_token = 2;
  config.vocab_size = 48;
  config.max_position_embeddings = 1024;
  config.rope_theta = 1e4;
  config.weight_format = format;
  config.num_mtp_layers = 3;
  return config;
}

namespace {

// Values differ from element to element and tensor to tensor, and are exact in every type.
Tensor make_tensor(const std::string& name, DType dtype, std::vector<int64_t> shape) {
  Tensor tensor{dtype, std::move(shape), {}};
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  uint64_t state = std::hash<std::string>()(name);
  for (int64_t i = 0; i < elements; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float value = static_cast<float>((state >> 60) + 1) / 8 * ((state >> 59) & 1 ? 1 : -1);
    const bf16_t narrow = float_to_bf16(value);
    const f8_t least = float_to_f8(value);
    if (dtype == DType::kF32) tensor.bytes.append(reinterpret_cast<const char*>(&value), 4);
    if (dtype == DType::kBF16) tensor.bytes.append(reinterpret_cast<const char*>(&narrow), 2);
    if (dtype == DType::kF8E4M3) tensor.bytes += static_cast<char>(least);
  }
  return tensor;
}

}  // namespace

Tensors tiny_checkpoint(const ModelConfig& config) {
  Tensors all;
  const auto add = [&](const std::string& name, DType dtype, std::vector<int64_t> shape) {
    all[name] = make_tensor(name, dtype, std::move(shape));
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    add(name, config.fp8() ? DType::kF8E4M3 : DType::kBF16, {rows, columns});
    if (!config.fp8()) return;
    add(name + "_scale_inv", DType::kF32, {(rows + 127) / 128, (columns + 127) / 128});
  };
  const int64_t hidden = config.hidden_size, q = config.q_width(), kv = config.kv_width();
  add("model.embed_tokens.weight", DType::kBF16, {config.vocab_size, hidden});
  add("lm_head.weight", DType::kBF16, {config.vocab_size, hidden});
  add("model.norm.weight", DType::kBF16, {hidden});
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    const DType router = i % 2 ? DType::kBF16 : DType::kF32;
    add(layer + "input_layernorm.weight", DType::kBF16, {hidden});
    add(layer + "post_attention_layernorm.weight", DType::kBF16, {hidden});
    linear(layer + "self_attn.q_proj.weight", q, hidden);
    linear(layer + "self_attn.k_proj.weight", kv, hidden);
    linear(layer + "self_attn.v_proj.weight", kv, hidden);
    linear(layer + "self_attn.o_proj.weight", hidden, q);
    add(layer + "self_attn.q_norm.weight", DType::kBF16, {q});
    add(layer + "self_attn.k_norm.weight", DType::kBF16, {kv});
    add(layer + "block_sparse_moe.gate.weight", router, {config.num_experts, hidden});
    add(layer + "block_sparse_moe.e_score_correction_bias", router, {config.num_experts});
    for (int32_t e = 0; e < config.num_experts; ++e) {
      const std::string expert = fmt::format("{}block_sparse_moe.experts.{}.", layer, e);
      linear(expert + "w1.weight", config.expert_width, hidden);
      linear(expert + "w3.weight", config.expert_width, hidden);
      linear(expert + "w2.weight", hidden, config.expert_width);
    }
  }
  return all;
}

void write_checkpoint(const TemporaryFolder& folder, const Tensors& tensors) {
  Tensors shards[2];
  std::string map;
  size_t count = 0;
  for (const auto& [name, tensor] : tensors) {
    const size_t shard = count++ * 2 / tensors.size();
    shards[shard][name] = tensor;
    map += fmt::format(R"({}"{}":"model-0000{}-of-00007.safetensors")", map.empty() ? "" : ",",
                       name, shard);
  }
  for (int i = 0; i < 2; ++i) {
    write_file(folder / fmt::format("model-0000{}-of-00007.safetensors", i),
               safetensors_bytes(shards[i]));
  }
  write_file(folder / "model.safetensors.index.json",
             R"({"metadata":{"total_size":1},"weight_map":{)" + map + "}}");
}

}  // namespace m2::test
