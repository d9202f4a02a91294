#include "loader/generation_config.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "loader/json_file.h"

namespace m2 {
namespace {

constexpr size_t kMaxEosTokens = 64;
constexpr int32_t kMaxTokenId = (1 << 22) - 1;

const json::Value* present(const json::Value& object, const char* key) {
  const json::Value* value = object.find(key);
  return value && !value->is_null() ? value : nullptr;
}

// `least_open`: the least value itself is out.
Status read_float(const json::Value& object, const char* key, double least, bool least_open,
                  double most, float& out) {
  const json::Value* value = present(object, key);
  if (!value) return {};
  const double number = value->is_number() ? value->as_double() : -1;
  const bool fits = number <= most && (least_open ? number > least : number >= least);
  if (!value->is_number() || !fits) {
    return invalid(key, "{} must be a number in {}{}, {}], got {}", key, least_open ? '(' : '[',
                   least, most, json::dump(*value).substr(0, 40));
  }
  out = static_cast<float>(number);
  return {};
}

Result<int32_t> to_int(const json::Value& value, const char* key, int32_t least, int32_t most) {
  if (!value.is_int() || value.as_int() < least || value.as_int() > most) {
    return invalid(key, "{} must be an integer in [{}, {}], got {}", key, least, most,
                   json::dump(value).substr(0, 40));
  }
  return static_cast<int32_t>(value.as_int());
}

// One id or a list of them.
Status read_eos(const json::Value& object, std::vector<int32_t>& out) {
  constexpr const char* kKey = "eos_token_id";
  const json::Value* value = present(object, kKey);
  if (!value) return {};
  const json::Array one{*value};
  const json::Array& listed = value->is_array() ? value->as_array() : one;
  if (listed.size() > kMaxEosTokens) {
    return invalid(kKey, "{} lists {} ids, more than {}", kKey, listed.size(), kMaxEosTokens);
  }
  out.clear();
  for (const json::Value& id : listed) {
    M2_ASSIGN(const int32_t token, to_int(id, kKey, 0, kMaxTokenId));
    if (std::find(out.begin(), out.end(), token) == out.end()) out.push_back(token);
  }
  return {};
}

}  // namespace

// Into a copy first: a file with one bad value changes nothing.
Status apply_generation_config(const json::Value& value, GenerationConfig& config) {
  if (!value.is_object()) {
    return invalid("", "must be a JSON object, got {}", json::type_name(value));
  }
  constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();
  GenerationConfig next = config;
  M2_TRY(read_eos(value, next.eos_token_ids));
  M2_TRY(read_float(value, "temperature", 0, false, 100, next.temperature));
  M2_TRY(read_float(value, "top_p", 0, true, 1, next.top_p));
  M2_TRY(read_float(value, "min_p", 0, false, 1, next.min_p));
  M2_TRY(read_float(value, "repetition_penalty", 0, true, 100, next.repetition_penalty));
  if (const json::Value* top_k = present(value, "top_k")) {
    M2_ASSIGN(next.top_k, to_int(*top_k, "top_k", -1, kMaxInt));
    next.top_k = std::max(next.top_k, 0);  // -1 is off too
  }
  if (const json::Value* most = present(value, "max_new_tokens")) {
    M2_ASSIGN(next.max_new_tokens, to_int(*most, "max_new_tokens", 1, kMaxInt));
  }
  config = std::move(next);
  return {};
}

Result<GenerationConfig> load_generation_config(const std::string& folder) {
  const std::string path = folder + "/generation_config.json";
  GenerationConfig config;
  struct stat status {};
  // Only absence gives the defaults; a file that cannot be read is an error, not a silent default.
  if (::stat(path.c_str(), &status) != 0 && errno == ENOENT) return config;
  M2_ASSIGN(const json::Value value, read_json_file(path, {.max_bytes = 1u << 20}));
  if (auto applied = apply_generation_config(value, config); !applied) {
    applied.error().message = path + ": " + applied.error().message;
    return tl::unexpected(std::move(applied.error()));
  }
  return config;
}

}  // namespace m2
