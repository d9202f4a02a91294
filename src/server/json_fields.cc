#include "server/json_fields.h"

#include <cmath>

namespace m2 {

std::optional<int64_t> whole_number(const json::Value& value) {
  if (value.is_int()) return value.as_int();
  if (!value.is_double()) return std::nullopt;
  const double number = value.as_double();
  // Past 2^53 a double no longer says which integer was meant.
  if (std::floor(number) != number || std::fabs(number) > 9007199254740992.0) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::string shown(const json::Value& value) {
  if (value.is_array() || value.is_object()) return json::type_name(value);
  constexpr size_t kMost = 64;
  // A string is cut before it is escaped: it may be as long as the whole body.
  if (value.is_string() && value.as_string().size() > kMost) {
    return json::dump(value.as_string().substr(0, kMost)) + "…";
  }
  std::string text = json::dump(value);
  if (value.is_double() && !std::isfinite(value.as_double())) text = "a number out of range";
  if (text.size() > kMost) text = text.substr(0, kMost) + "…";
  return text;
}

const json::Value* JsonFields::find(std::string_view name) const {
  if (fault_) return nullptr;
  const json::Value* value = object_.find(name);
  return value && !value->is_null() ? value : nullptr;
}

void JsonFields::wrong_type(std::string_view name, const char* wanted, const json::Value& value) {
  refuse(name, "{}{} must be {}, got {}", path_, name, wanted, shown(value));
}

void JsonFields::boolean(std::string_view name, bool& out) {
  const json::Value* value = find(name);
  if (!value) return;
  if (!value->is_bool()) return wrong_type(name, "a boolean", *value);
  out = value->as_bool();
}

void JsonFields::text(std::string_view name, std::string& out, size_t max_bytes) {
  const json::Value* value = find(name);
  if (!value) return;
  if (!value->is_string()) return wrong_type(name, "a string", *value);
  if (value->as_string().size() > max_bytes) {
    return refuse(name, "{}{} is {} bytes long, at most {} are taken", path_, name,
                  value->as_string().size(), max_bytes);
  }
  out = value->as_string();
}

void JsonFields::integer(std::string_view name, int64_t& out, int64_t min, int64_t max) {
  const json::Value* value = find(name);
  if (!value) return;
  const auto number = whole_number(*value);
  if (!number && !value->is_big_integer()) return wrong_type(name, "an integer", *value);
  if (!number || *number < min || *number > max) {
    return refuse(name, "{}{} must be in [{}, {}], got {}", path_, name, min, max, shown(*value));
  }
  out = *number;
}

void JsonFields::number(std::string_view name, double& out, double min, double max) {
  const json::Value* value = find(name);
  if (!value) return;
  if (!value->is_number()) return wrong_type(name, "a number", *value);
  const double number = value->as_double();
  if (!(number >= min && number <= max)) {  // so that NaN is out too
    return refuse(name, "{}{} must be in [{}, {}], got {}", path_, name, min, max, shown(*value));
  }
  out = number;
}

void JsonFields::positive(std::string_view name, double& out, double max) {
  const json::Value* value = find(name);
  if (!value) return;
  if (!value->is_number()) return wrong_type(name, "a number", *value);
  const double number = value->as_double();
  if (!(number > 0 && number <= max)) {
    return refuse(name, "{}{} must be in (0, {}], got {}", path_, name, max, shown(*value));
  }
  out = number;
}

const json::Array* JsonFields::array(std::string_view name, size_t max_elements) {
  const json::Value* value = find(name);
  if (!value) return nullptr;
  if (!value->is_array()) {
    wrong_type(name, "an array", *value);
    return nullptr;
  }
  if (value->as_array().size() > max_elements) {
    refuse(name, "{}{} has {} elements, at most {} are taken", path_, name,
           value->as_array().size(), max_elements);
    return nullptr;
  }
  return &value->as_array();
}

const json::Object* JsonFields::object(std::string_view name) {
  const json::Value* value = find(name);
  if (!value) return nullptr;
  if (!value->is_object()) {
    wrong_type(name, "an object", *value);
    return nullptr;
  }
  return &value->as_object();
}

}  // namespace m2
