// Any bytes as JSON: what parses is written and read back to the same value and the same text.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "json/json.h"
#include "json/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace json = m2::json;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  json::Limits limits;
  limits.max_depth = 20;
  limits.max_elements = 10'000;
  const auto strict = json::parse(text, limits);
  const auto value = json::parse(text, limits, /*accept_nan=*/true);
  M2_CHECK(!strict || value, "what is strict JSON is JSON");
  if (!value) return 0;
  const std::string python = json::dump_python(*value);
  M2_CHECK(json::is_valid_utf8(python), "invalid UTF-8");
  const auto again = json::parse(python, limits, true);
  M2_CHECK(again.has_value(), "{} does not read back: {}", python, again.error().message);
  M2_CHECK(json::dump_python(*again) == python, "{} changes", python);
  if (strict) {
    M2_CHECK(*strict == *again, "{} is another value", python);
    M2_CHECK(json::parse(json::dump(*strict), limits).has_value(), "compact form does not parse");
  }
  return 0;
}
