#include "loader/hub/known_hash.h"

#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "loader/hub/names.h"

namespace m2 {

std::string known_hash(const std::string& folder, const std::string& file) {
  std::error_code error;
  const auto target = std::filesystem::read_symlink(folder + "/" + file, error);
  if (!error && target.parent_path().filename() == "blobs") {
    std::string name = target.filename().string();
    if (is_blob_name(name)) return name;
  }
  // Three lines: commit, hash, time.
  constexpr size_t kMaxMetadataBytes = 4096;
  const auto text =
      read_file(folder + "/.cache/huggingface/download/" + file + ".metadata", kMaxMetadataBytes);
  if (!text) return "";
  std::istringstream lines(*text);
  std::string commit, hash;
  std::getline(lines, commit);
  std::getline(lines, hash);
  return is_blob_name(hash) ? hash : "";
}

}  // namespace m2
