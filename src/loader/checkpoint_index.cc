#include "loader/checkpoint_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "loader/json_file.h"

namespace m2 {
namespace {

// Each file is one mapping; the system allows 65,530 of them.
constexpr size_t kMaxFiles = 4096;
constexpr size_t kMaxFileNameBytes = 255;

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

// A plain name in the model's own folder. Anything that could lead out of it is refused; the file
// itself may be a symbolic link, as it is in the Hugging Face cache.
bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxFileNameBytes || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '-' || c == '_';
  });
}

Result<CheckpointIndex> parse_index(const std::string& path, const json::Value& value) {
  const json::Value* map = value.find("weight_map");
  if (!map || !map->is_object()) {
    return invalid("model", "{}: weight_map must be an object of tensor and file names", path);
  }
  CheckpointIndex index{path, {}, {}};
  std::map<std::string, size_t, std::less<>> places;
  for (const auto& [tensor, file] : map->as_object()) {
    if (!file.is_string() || !is_plain_name(file.as_string())) {
      return invalid("model", "{}: {} is no plain file name in this folder", path,
                     json::dump(file).substr(0, 120));
    }
    places.emplace(file.as_string(), 0);
    if (places.size() > kMaxFiles) {
      return invalid("model", "{}: names more than {} files", path, kMaxFiles);
    }
  }
  // A map is sorted, so the files are opened, and errors named, in one order every time.
  for (auto& [name, place] : places) {
    place = index.files.size();
    index.files.push_back(name);
  }
  index.tensors.reserve(map->as_object().size());
  for (const auto& [tensor, file] : map->as_object()) {
    index.tensors.emplace_back(tensor, places.find(file.as_string())->second);
  }
  return index;
}

}  // namespace

Result<CheckpointIndex> read_checkpoint_index(const std::string& folder) {
  const std::string path = folder + "/model.safetensors.index.json";
  if (exists(path)) {
    M2_ASSIGN(const json::Value value, read_json_file(path));
    return parse_index(path, value);
  }
  if (exists(folder + "/model.safetensors")) return CheckpointIndex{"", {"model.safetensors"}, {}};
  return fail(ErrorKind::kNotFound, "model",
              "{} holds neither model.safetensors.index.json nor model.safetensors", folder);
}

}  // namespace m2
