// The tools of one request as the reply parser needs them: which names exist, and what type each
// parameter's text is to become.
//
// Thread-safety: const after construction.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "json/json.h"
#include "text/coercion.h"

namespace m2 {

class ToolSchemas {
 public:
  ToolSchemas() = default;
  // `tools` is the request's array of {"type": "function", "function": {"name", "parameters"}}.
  // Malformed entries are skipped here; the server has refused them before.
  explicit ToolSchemas(const json::Value& tools);

  bool empty() const { return tools_.empty(); }
  bool has_tool(std::string_view name) const;

  // The types that the parameter's schema allows: those of "type" (a name or a list), of the
  // literals of "enum" and "const", of "nullable", and of whatever anyOf, oneOf, allOf and $ref
  // (within the tool's own schema) lead to. A string where there is no schema or it says nothing.
  TypeSet types(std::string_view tool, std::string_view parameter) const;

  // True when the parameter's value is a string whatever its text: it may be streamed as it comes.
  bool is_plain_string(std::string_view tool, std::string_view parameter) const {
    return types(tool, parameter) == kStringType;
  }

  // The JSON value that `raw` stands for under the parameter's schema: null, integer, number,
  // boolean, object, array, string are tried in this order, where the schema allows them.
  // Never fails: what fits nothing is JSON if it parses, else a string.
  json::Value coerce(std::string_view tool, std::string_view parameter,
                     std::string_view raw) const {
    return coerce_text(types(tool, parameter), raw);
  }

 private:
  using Parameters = std::map<std::string, TypeSet, std::less<>>;
  std::map<std::string, Parameters, std::less<>> tools_;
};

}  // namespace m2
