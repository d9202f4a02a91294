// A model folder's weights: opened and checked as a whole, then copied slice by slice into the
// memory of one rank (model/weights.h) as model/shard.h says.
//
// What open() accepts: exactly the tensors of the config, FP8 with their `_scale_inv` (F32 or BF16)
// or all BF16; norms, router and bias in F32 or BF16. Ignored: multi-token-prediction layers,
// rotary_emb.inv_freq, and tensors of a file that the index does not name there.
//
// Thread-safety: const members from any thread; every rank loads its own part of one Checkpoint.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "loader/safetensors.h"
#include "loader/tensor_report.h"
#include "model/config.h"
#include "model/shard.h"
#include "model/weight_block.h"

namespace m2 {

class Checkpoint {
 public:
  // One error names every file that is missing or broken, and of the others every missing, extra
  // and mis-shaped tensor.
  static Result<Checkpoint> open(const std::string& folder, const ModelConfig& config);

  // Fills one rank's weights, reading only its slices, each byte once: of a tensor that is cut by
  // rows the others' pages are not touched. `weights` holds weights_bytes(config, shard) bytes.
  Status load(const Shard& shard, int threads, WeightBlock& weights) const;
  Status load(const Shard& shard, int threads, std::byte* weights) const {
    HostBlock block(weights);
    return load(shard, threads, block);
  }

  size_t num_files() const { return files_.size(); }
  size_t num_tensors() const { return tensors_.size(); }
  size_t bytes() const;  // of all files
  // Bytes that load() has asked the files for so far, for all ranks.
  size_t bytes_read() const { return *bytes_read_; }

 private:
  static constexpr size_t kNoFile = SIZE_MAX;
  struct Place {
    size_t file;
    TensorView view;
  };

  Checkpoint() = default;
  // The place of each name in files_; kNoFile for one that cannot be used, which is reported.
  std::vector<size_t> open_files(const std::string& folder, const std::vector<std::string>& names,
                                 TensorReport& report);
  void check(TensorReport& report) const;
  // The slice's elements, and its table of tiles, in the format and layout of TensorSlice.
  Status read_elements(const TensorSlice& slice, std::byte* out) const;
  Status read_scales(const TensorSlice& slice, float* out) const;
  Result<TensorView> fetch(const std::string& name, int64_t first, int64_t count) const;

  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::unordered_map<std::string, Place> tensors_;
  // Tensors that the index names in vain: in a file without them, or in kNoFile.
  std::unordered_map<std::string, size_t> not_in_file_;
  // Apart, so that a Checkpoint can be moved.
  std::unique_ptr<std::atomic<size_t>> bytes_read_ = std::make_unique<std::atomic<size_t>>(0);
};

}  // namespace m2
