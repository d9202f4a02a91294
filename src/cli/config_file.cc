#include "cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/file.h"
#include "cli/nearest.h"

namespace m2::cli {
namespace {

constexpr size_t kMaxFileBytes = 1u << 20;
constexpr int kMaxDepth = 16;

// A YAML value inside a JSON flag. Plain scalars are read as JSON where they are JSON.
Result<json::Value> to_json(const YAML::Node& node, int depth) {
  if (depth > kMaxDepth)
    return invalid("config", "a config value is nested over {} deep", kMaxDepth);
  if (node.IsSequence()) {
    json::Array items;
    for (const YAML::Node& item : node) {
      M2_ASSIGN(json::Value value, to_json(item, depth + 1));
      items.push_back(std::move(value));
    }
    return json::Value(std::move(items));
  }
  if (node.IsMap()) {
    json::Object members;
    for (const auto& member : node) {
      M2_ASSIGN(json::Value value, to_json(member.second, depth + 1));
      members.set(member.first.Scalar(), std::move(value));
    }
    return json::Value(std::move(members));
  }
  if (node.IsNull()) return json::Value();
  if (node.Tag() != "!") {  // "!" marks a quoted scalar, which is text whatever it spells
    if (auto parsed = json::parse(node.Scalar())) return std::move(*parsed);
  }
  return json::Value(node.Scalar());
}

Result<json::Value> value_of(const Flag& flag, const YAML::Node& node) {
  if (flag.kind == FlagKind::kJson && !node.IsScalar()) return to_json(node, 0);
  const bool is_list = flag.kind == FlagKind::kList || flag.kind == FlagKind::kAppend;
  if (is_list && node.IsSequence()) {
    json::Array items;
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return invalid("", "{} takes a list of plain values", flag.name);
      items.push_back(item.Scalar());
    }
    return json::Value(std::move(items));
  }
  if (!node.IsScalar()) return invalid("", "{} takes one plain value", flag.name);
  if (flag.kind == FlagKind::kOptionalText && node.Scalar() == "true") return json::Value(true);
  return flag_value(flag, node.Scalar());
}

Status take_member(const Command& command, const std::string& key, const YAML::Node& node,
                   ParsedFlags& out) {
  std::string name = key;
  std::replace(name.begin(), name.end(), '_', '-');
  if (name == "model-tag") name = "model";
  if (node.IsNull()) return {};  // "key:" alone asks for nothing
  const Flag* flag = find_flag(command, name);
  if (!flag || name == "config") {
    std::vector<std::string_view> names;
    for (const Flag& known : command.flags) names.push_back(known.name);
    const std::string_view near = nearest(name, names);
    return invalid(name, "unknown flag '{}'{}", key,
                   near.empty() || name == "config" ? "" : fmt::format("; did you mean {}?", near));
  }
  M2_ASSIGN(json::Value value, value_of(*flag, node));
  if (!out.values.emplace(name, std::move(value)).second) {
    out.warnings.push_back(fmt::format("{} is given twice in the config file", name));
  }
  return {};
}

}  // namespace

Result<ParsedFlags> read_config_file(const Command& command, const std::string& path) {
  const auto text = read_file(path, kMaxFileBytes, FileKind::kAny);
  if (!text) return invalid("config", "--config {}", text.error().message);
  ParsedFlags out;
  try {  // yaml-cpp reports by exceptions: none leaves this function
    const YAML::Node root = YAML::Load(*text);
    if (root.IsNull()) return out;
    if (!root.IsMap()) return invalid("config", "--config {}: not a map of flags", path);
    for (const auto& member : root) {
      const Status taken = take_member(command, member.first.Scalar(), member.second, out);
      if (!taken) {
        return invalid("config", "--config {}: {}", path, taken.error().message);
      }
    }
  } catch (const std::exception& error) {
    return invalid("config", "--config {}: {}", path, error.what());
  }
  return out;
}

}  // namespace m2::cli
