#include "cli/graph_options.h"

#include <charconv>
#include <optional>

#include "cli/flag_reader.h"

namespace m2::cli {
namespace {

constexpr int32_t kMostTokens = 65536;
constexpr size_t kMostSizes = 1024;

struct ModeName {
  std::string_view name;
  GraphMode mode;
};
constexpr ModeName kModes[] = {{"NONE", GraphMode::kNone},
                               {"PIECEWISE", GraphMode::kPiecewise},
                               {"FULL", GraphMode::kFull},
                               {"FULL_DECODE_ONLY", GraphMode::kFullDecodeOnly},
                               {"FULL_AND_PIECEWISE", GraphMode::kFullAndPiecewise}};

Result<GraphMode> mode_of(const json::Value& value) {
  std::string name = value.is_string() ? value.as_string() : json::dump(value);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  std::string all;
  for (const ModeName& mode : kModes) {
    if (mode.name == name) return mode.mode;
    all += (all.empty() ? "" : ", ") + std::string(mode.name);
  }
  return invalid("compilation-config", "cudagraph_mode must be one of {}, got {}", all,
                 json::dump(value));
}

Result<int32_t> size_of(std::string_view flag, const json::Value& value) {
  int64_t size = 0;
  bool good = value.is_int();
  if (good) size = value.as_int();
  if (value.is_string()) {
    const std::string& text = value.as_string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    good = error == std::errc{} && end == text.data() + text.size();
  }
  if (!good || size < 1 || size > kMostTokens) {
    return invalid(std::string(flag), "{}: a graph's tokens must be 1 to {}, got {}", flag,
                   kMostTokens, json::dump(value));
  }
  return static_cast<int32_t>(size);
}

// One size or a list of them.
Status read_sizes(std::string_view flag, const json::Value& value, GraphOptions& out) {
  out.sizes.clear();
  if (!value.is_array()) {
    M2_ASSIGN(const int32_t size, size_of(flag, value));
    out.sizes.push_back(size);
    return {};
  }
  if (value.as_array().size() > kMostSizes) {
    return invalid(std::string(flag), "{}: {} graph sizes; at most {} are made", flag,
                   value.as_array().size(), kMostSizes);
  }
  for (const json::Value& item : value.as_array()) {
    M2_ASSIGN(const int32_t size, size_of(flag, item));
    out.sizes.push_back(size);
  }
  return {};
}

// vLLM's levels: 0 records nothing, 1 by pieces, 2 and 3 as much as it can.
Status read_level(const ParsedFlags& flags, GraphOptions& out) {
  FlagReader reader(flags);
  const int level = reader.choice("optimization-level", {"0", "1", "2", "3"});
  if (level == 0) out.mode = GraphMode::kNone;
  if (level == 1) out.mode = GraphMode::kPiecewise;
  return reader.status();
}

Status read_config(const json::Object& config, GraphOptions& out) {
  constexpr std::string_view kFlag = "compilation-config";
  const auto find = [&](std::string_view key) -> const json::Value* {
    const json::Value* value = config.find(key);
    return value != nullptr && !value->is_null() ? value : nullptr;
  };
  if (const json::Value* mode = find("cudagraph_mode")) {
    M2_ASSIGN(out.mode, mode_of(*mode));
  }
  if (const json::Value* most = find("max_cudagraph_capture_size")) {
    M2_ASSIGN(out.max_size, size_of(kFlag, *most));
  }
  if (const json::Value* sizes = find("cudagraph_capture_sizes")) {
    M2_TRY(read_sizes(kFlag, *sizes, out));
  }
  return {};
}

}  // namespace

Result<GraphOptions> read_graph_options(const ParsedFlags& flags) {
  GraphOptions out;
  M2_TRY(read_level(flags, out));
  FlagReader reader(flags);
  reader.integer("max-cudagraph-capture-size", out.max_size, 1, kMostTokens);
  json::Object config;
  reader.object("compilation-config", config);
  bool eager = false;
  reader.flag("enforce-eager", eager);
  M2_TRY(reader.status());
  for (const std::string_view flag : {"cudagraph-capture-sizes", "cuda-graph-sizes"}) {
    if (const json::Value* sizes = flags.find(flag)) M2_TRY(read_sizes(flag, *sizes, out));
  }
  M2_TRY(read_config(config, out));
  if (eager) out.mode = GraphMode::kNone;
  return out;
}

}  // namespace m2::cli
