#include "loader/json_file.h"

#include <utility>

#include "base/file.h"

namespace m2 {

Result<json::Value> read_json_file(const std::string& path, const json::Limits& limits) {
  auto text = read_file(path, limits.max_bytes);
  if (!text) {
    text.error().field = "model";
    return tl::unexpected(std::move(text.error()));
  }
  auto value = json::parse(*text, limits);
  if (!value) value.error().message = path + ": " + value.error().message;
  return value;
}

}  // namespace m2
