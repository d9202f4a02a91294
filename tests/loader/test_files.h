// Model folders that the tests write: safetensors files byte by byte, and a tiny whole checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "model/config.h"
#include "tests/temporary_folder.h"

namespace m2::test {

// Makes the folders above the file too.
void write_file(const std::string& path, std::string_view bytes);
std::string read_file(const std::string& path);

struct Tensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::string bytes;

  float at(int64_t index) const;  // widened
};
using Tensors = std::map<std::string, Tensor>;

// Length, header, data: nothing is checked, so that a test can write nonsense.
std::string safetensors_bytes(std::string_view header, std::string_view data);
// A proper file of these tensors, in the order of their alignment.
std::string safetensors_bytes(const Tensors& tensors);

// Cut by two ranks, an expert's 384 columns give 192, which straddle the 128-blocks of the scales.
ModelConfig tiny_config(WeightFormat format = WeightFormat::kFp8Block128);

// A complete checkpoint with values that follow from the names; gate and bias of even layers are in
// F32, of odd ones in BF16.
Tensors tiny_checkpoint(const ModelConfig& config);

// Writes two shards, named from 0 as the published ones are, and the index.
void write_checkpoint(const TemporaryFolder& folder, const Tensors& tensors);

}  // namespace m2::test
