// The hashes that the hub gave a folder's files when they were downloaded.
//
// Thread-safety: pure functions of the disk.
#pragma once

#include <string>

namespace m2 {

// In the cache a file's hash is its blob's name; in a folder that `hf download --local-dir` filled
// it stands under .cache/huggingface/download. Empty: nobody has said.
std::string known_hash(const std::string& folder, const std::string& file);

}  // namespace m2
