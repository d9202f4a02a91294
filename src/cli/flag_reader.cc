#include "cli/flag_reader.h"

#include <algorithm>

namespace m2::cli {

const json::Value* FlagReader::take(std::string_view name) const {
  return status_ ? flags_.find(name) : nullptr;
}

void FlagReader::refuse(std::string_view name, std::string message) {
  if (!status_) return;
  status_ =
      tl::unexpected(Error{ErrorKind::kInvalidArgument, std::move(message), std::string(name)});
}

Status FlagReader::status() const { return status_; }

void FlagReader::number(std::string_view name, double& out, double least, double most) {
  const json::Value* value = take(name);
  if (!value) return;
  if (!value->is_number() || !(value->as_double() >= least && value->as_double() <= most)) {
    refuse(name,
           fmt::format("--{} must be {} to {}, got {}", name, least, most, json::dump(*value)));
    return;
  }
  out = value->as_double();
}

void FlagReader::text(std::string_view name, std::string& out) {
  const json::Value* value = take(name);
  if (!value) return;
  if (!value->is_string() || value->as_string().empty()) {
    refuse(name, fmt::format("--{} must not be empty", name));
    return;
  }
  out = value->as_string();
}

void FlagReader::flag(std::string_view name, bool& out) {
  if (const json::Value* value = take(name); value && value->is_bool()) out = value->as_bool();
}

void FlagReader::texts(std::string_view name, std::vector<std::string>& out) {
  const json::Value* value = take(name);
  if (!value) return;
  out.clear();
  if (value->is_string()) out.push_back(value->as_string());
  if (!value->is_array()) return;
  for (const json::Value& item : value->as_array()) {
    if (!item.is_string() || item.as_string().empty()) {
      refuse(name, fmt::format("--{} takes texts that are not empty", name));
      return;
    }
    out.push_back(item.as_string());
  }
}

void FlagReader::object(std::string_view name, json::Object& out) {
  const json::Value* value = take(name);
  if (!value) return;
  if (!value->is_object()) {
    refuse(name, fmt::format("--{} takes a JSON object, got {}", name, json::dump(*value)));
    return;
  }
  out = value->as_object();
}

int FlagReader::choice(std::string_view name, std::initializer_list<std::string_view> choices) {
  const json::Value* value = take(name);
  if (!value || !value->is_string()) return -1;
  const auto* found = std::find(choices.begin(), choices.end(), value->as_string());
  if (found != choices.end()) return static_cast<int>(found - choices.begin());
  std::string list;
  for (const std::string_view choice : choices) {
    list += (list.empty() ? "" : ", ") + std::string(choice);
  }
  refuse(name, fmt::format("--{} must be one of {}; got '{}'", name, list, value->as_string()));
  return -1;
}

}  // namespace m2::cli
