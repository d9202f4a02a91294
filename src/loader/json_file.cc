#include "loader/json_file.h"

#include <fstream>

namespace m2 {

Result<json::Value> read_json_file(const std::string& path, const json::Limits& limits) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorKind::kNotFound, "model", "{} cannot be opened", path);
  // In pieces, so that neither a device nor an endless file in its place takes more than the limit.
  std::string text;
  char piece[1 << 16];
  while (file && text.size() <= limits.max_bytes) {
    file.read(piece, sizeof piece);
    text.append(piece, static_cast<size_t>(file.gcount()));
  }
  if (text.size() > limits.max_bytes) {
    return invalid("model", "{} is longer than {} bytes", path, limits.max_bytes);
  }
  auto value = json::parse(text, limits);
  if (!value) value.error().message = path + ": " + value.error().message;
  return value;
}

}  // namespace m2
