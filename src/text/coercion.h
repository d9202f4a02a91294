// What a parameter's text stands for. The model writes every value as bare text; the schema says
// which types it may have, and the first of null, integer, number, boolean, object, array, string
// that is allowed and fits wins. Numbers are read as Python's int() and float() read them, since
// clients and prompts were made with those.
//
// Thread-safety: pure functions. Time is linear in the text; nothing recurses on it but the JSON
// parser, within its depth limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "json/json.h"

namespace m2 {

// A set of schema types, as bits.
using TypeSet = uint8_t;
inline constexpr TypeSet kNullType = 1;
inline constexpr TypeSet kIntegerType = 2;
inline constexpr TypeSet kNumberType = 4;
inline constexpr TypeSet kBooleanType = 8;
inline constexpr TypeSet kObjectType = 16;
inline constexpr TypeSet kArrayType = 32;
inline constexpr TypeSet kStringType = 64;
inline constexpr TypeSet kOtherType = 128;  // a name that we do not know: JSON if it parses

// The type that a schema's "type" names: also the spellings of other languages (int32, float, dict,
// list, …) that tool makers use.
TypeSet type_named(std::string_view name);

// The type that a literal of a schema's "enum" has.
TypeSet type_of(const json::Value& value);

// Never fails: what fits no type is JSON if it parses, else the text itself.
json::Value coerce_text(TypeSet types, std::string_view raw);

// Python's int(text): blanks around it, a sign, digits with single underscores between them.
std::optional<json::Value> python_int(std::string_view text);
// Python's float(text), finite ones only; a whole number comes back as an integer.
std::optional<json::Value> python_float(std::string_view text);

}  // namespace m2
