// Which file of a model folder holds which tensor. The index file is the truth: file names say
// "-of-00130" where 125 exist, counted from 0, and nothing is concluded from them.
//
// Thread-safety: plain values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace m2 {

struct CheckpointIndex {
  std::string path;  // of the index file; empty when the folder holds one model.safetensors
  std::vector<std::string> files;                       // names in the folder, each once, sorted
  std::vector<std::pair<std::string, size_t>> tensors;  // name and index into `files`
};

// Reads `folder`/model.safetensors.index.json. Without it, the one file model.safetensors is named
// and `tensors` is empty: the file itself says what it holds.
Result<CheckpointIndex> read_checkpoint_index(const std::string& folder);

}  // namespace m2
