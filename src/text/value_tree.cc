#include "text/value_tree.h"

#include "base/check.h"

namespace m2 {

void ValueTree::add_count(size_t count) {
  // Requests are bounded far below this at the edge.
  M2_CHECK(count <= UINT32_MAX, "a string or container of {} is too large", count);
  const auto size = static_cast<uint32_t>(count);
  bytes_.append(reinterpret_cast<const char*>(&size), sizeof(size));
}

void ValueTree::add_text(std::string_view text) {
  add_count(text.size());
  bytes_ += text;
}

void ValueTree::add_client_text(std::string_view text) {
  if (marks_ == nullptr) {
    add_text(text);
  } else {
    add_text(marks_->escape(text));
  }
}

void ValueTree::add_raw_string(std::string_view text) {
  bytes_ += 's';
  add_text(text);
}

void ValueTree::begin_list(size_t count) {
  bytes_ += '[';
  add_count(count);
}

void ValueTree::begin_map(size_t count) {
  bytes_ += '{';
  add_count(count);
}

void ValueTree::add_key(std::string_view key) { add_client_text(key); }

// Recursion is as deep as the value, which json::parse has bounded.
void ValueTree::add(const json::Value& value) {
  if (value.is_null()) {
    bytes_ += 'n';
  } else if (value.is_bool()) {
    bytes_ += value.as_bool() ? 't' : 'f';
  } else if (value.is_int()) {
    const int64_t integer = value.as_int();
    bytes_ += 'i';
    bytes_.append(reinterpret_cast<const char*>(&integer), sizeof(integer));
  } else if (value.is_double()) {
    const double number = value.as_double();
    bytes_ += 'd';
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof(number));
  } else if (value.is_big_integer()) {
    bytes_ += 'b';  // digits: no machine type holds it
    add_text(std::get<json::BigInteger>(value.storage()).digits);
  } else if (value.is_string()) {
    bytes_ += 's';
    add_client_text(value.as_string());
  } else if (value.is_array()) {
    begin_list(value.as_array().size());
    for (const json::Value& element : value.as_array()) add(element);
  } else {
    begin_map(value.as_object().size());
    for (const auto& [key, member] : value.as_object()) {
      add_key(key);
      add(member);
    }
  }
}

}  // namespace m2
