#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/check.h"
#include "json/json.h"

namespace m2::json {

namespace {

// Below this many members a linear search beats building an index.
constexpr size_t kIndexFrom = 16;

using Index = std::unordered_map<std::string_view, size_t>;

template <typename T>
T& checked_get(Value::Storage& storage, const char* wanted) {
  T* value = std::get_if<T>(&storage);
  M2_CHECK(value != nullptr, "JSON value is not {}", wanted);
  return *value;
}
template <typename T>
const T& checked_get(const Value::Storage& storage, const char* wanted) {
  const T* value = std::get_if<T>(&storage);
  M2_CHECK(value != nullptr, "JSON value is not {}", wanted);
  return *value;
}

bool equal_objects(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  if (a.size() < kIndexFrom) {
    return std::all_of(a.begin(), a.end(), [&](const Member& member) {
      const Value* other = b.find(member.first);
      return other != nullptr && *other == member.second;
    });
  }
  std::unordered_map<std::string_view, const Value*> index;
  for (const Member& member : b) index.emplace(member.first, &member.second);
  return std::all_of(a.begin(), a.end(), [&](const Member& member) {
    const auto other = index.find(member.first);
    return other != index.end() && *other->second == member.second;
  });
}

}  // namespace

Object Object::from_members(std::vector<Member> members) {
  Object object;
  if (members.size() < kIndexFrom) {
    for (Member& member : members) object.set(member.first, std::move(member.second));
    return object;
  }
  // The views point into the strings of `object`, which never move: the capacity is reserved.
  Index index;
  object.members_.reserve(members.size());
  for (Member& member : members) {
    const auto known = index.find(member.first);
    if (known != index.end()) {
      object.members_[known->second].second = std::move(member.second);
      continue;
    }
    object.members_.push_back(std::move(member));
    index.emplace(object.members_.back().first, object.members_.size() - 1);
  }
  return object;
}

const Value* Object::find(std::string_view key) const {
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Value* Object::find(std::string_view key) {
  return const_cast<Value*>(static_cast<const Object*>(this)->find(key));
}

Value& Object::set(std::string_view key, Value value) {
  if (Value* known = find(key)) return *known = std::move(value);
  return members_.emplace_back(std::string(key), std::move(value)).second;
}

bool Object::erase(std::string_view key) {
  const auto place = std::find_if(members_.begin(), members_.end(),
                                  [&](const Member& member) { return member.first == key; });
  if (place == members_.end()) return false;
  members_.erase(place);
  return true;
}

Value::Value(uint64_t value) {
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    storage_ = static_cast<int64_t>(value);
  } else {
    storage_ = BigInteger{std::to_string(value)};
  }
}

bool Value::as_bool() const { return checked_get<bool>(storage_, "a boolean"); }
int64_t Value::as_int() const { return checked_get<int64_t>(storage_, "an integer"); }

double Value::as_double() const {
  if (is_int()) return static_cast<double>(as_int());
  if (is_big_integer()) {
    const std::string& digits = std::get<BigInteger>(storage_).digits;
    double value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (parsed.ec == std::errc()) return value;
    return digits.starts_with('-') ? -HUGE_VAL : HUGE_VAL;  // past the range of double
  }
  return checked_get<double>(storage_, "a number");
}

const std::string& Value::as_string() const {
  return checked_get<std::string>(storage_, "a string");
}
std::string& Value::as_string() { return checked_get<std::string>(storage_, "a string"); }
const Array& Value::as_array() const { return checked_get<Array>(storage_, "an array"); }
Array& Value::as_array() { return checked_get<Array>(storage_, "an array"); }
const Object& Value::as_object() const { return checked_get<Object>(storage_, "an object"); }
Object& Value::as_object() { return checked_get<Object>(storage_, "an object"); }

const Value* Value::find(std::string_view key) const {
  const Object* object = std::get_if<Object>(&storage_);
  return object == nullptr ? nullptr : object->find(key);
}

bool Value::operator==(const Value& other) const {
  if (storage_.index() != other.storage_.index()) return false;
  if (is_object()) return equal_objects(as_object(), other.as_object());
  if (is_array()) return as_array() == other.as_array();
  return std::visit(
      [&](const auto& mine) {
        using T = std::decay_t<decltype(mine)>;
        if constexpr (std::is_same_v<T, Array> || std::is_same_v<T, Object>) {
          return false;  // handled above
        } else {
          return mine == std::get<T>(other.storage_);
        }
      },
      storage_);
}

const char* type_name(const Value& value) {
  if (value.is_null()) return "null";
  if (value.is_bool()) return "a boolean";
  if (value.is_int() || value.is_big_integer()) return "an integer";
  if (value.is_double()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "an array";
  return "an object";
}

}  // namespace m2::json
