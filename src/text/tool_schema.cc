#include "text/tool_schema.h"

#include <utility>
#include <vector>

namespace m2 {
namespace {

// Schemas come from the client: the work that all of a request's may cause is bounded, so that
// references to references cannot multiply. Real requests stay far below; what comes after the
// bound is taken for a string.
constexpr int64_t kMaxWork = 1 << 20;  // schemas, branches, literals and members looked at
constexpr int kMaxVisits = 256;        // schemas looked at for one parameter
constexpr int kMaxHops = 16;           // references followed in a row

// "a~1b" → "a/b", "~0" → "~" (RFC 6901).
std::string unescape(std::string_view part) {
  std::string key;
  for (size_t i = 0; i < part.size(); ++i) {
    const bool escape = part[i] == '~' && i + 1 < part.size();
    if (escape && (part[i + 1] == '0' || part[i + 1] == '1')) {
      key += part[++i] == '0' ? '~' : '/';
    } else {
      key += part[i];
    }
  }
  return key;
}

// What "#/$defs/City" names in the same schema; nullptr for anything that is not there, and for
// references to other documents, which are never fetched.
const json::Value* referenced(const json::Value& root, std::string_view reference, int64_t& work) {
  if (!reference.starts_with('#')) return nullptr;
  reference.remove_prefix(1);
  const json::Value* value = &root;
  while (value != nullptr && !reference.empty()) {
    if (reference.front() != '/') return nullptr;
    reference.remove_prefix(1);
    const std::string_view part = reference.substr(0, reference.find('/'));
    reference.remove_prefix(part.size());
    work -= value->is_object() ? static_cast<int64_t>(value->as_object().size()) : 1;
    if (work < 0) return nullptr;
    value = value->find(unescape(part));
  }
  return value;
}

// The schema itself, or what its $ref leads to.
const json::Value* resolved(const json::Value& root, const json::Value* schema, int64_t& work) {
  for (int hops = 0; schema != nullptr; ++hops) {
    const json::Value* reference = schema->find("$ref");
    if (reference == nullptr || !reference->is_string()) return schema;
    if (hops == kMaxHops) return nullptr;
    schema = referenced(root, reference->as_string(), work);
  }
  return nullptr;
}

TypeSet own_types(const json::Value& schema, int64_t& work) {
  TypeSet types = 0;
  if (--work < 0) return types;
  if (const json::Value* type = schema.find("type")) {
    if (type->is_string()) types |= type_named(type->as_string());
    if (type->is_array()) {
      for (const json::Value& name : type->as_array()) {
        if (--work < 0) break;
        if (name.is_string()) types |= type_named(name.as_string());
      }
    }
  }
  if (const json::Value* literals = schema.find("enum"); literals && literals->is_array()) {
    for (const json::Value& literal : literals->as_array()) {
      if (--work < 0) break;
      types |= type_of(literal);
    }
  }
  if (const json::Value* literal = schema.find("const")) types |= type_of(*literal);
  return types;
}

bool is_nullable(const json::Value& schema) {
  const json::Value* nullable = schema.find("nullable");
  return nullable && nullable->is_bool() && nullable->as_bool();
}

// Walks the alternatives with a list of its own: no recursion on a client's nesting.
TypeSet types_of(const json::Value& root, const json::Value& parameter, int64_t& work) {
  TypeSet types = 0;
  TypeSet null = 0;  // apart: {"nullable": true} alone is a string or null
  std::vector<const json::Value*> open = {&parameter};
  for (int visits = 0; !open.empty() && visits < kMaxVisits && work > 0; ++visits) {
    const json::Value* schema = open.back();
    open.pop_back();
    types |= own_types(*schema, work);  // what stands beside a $ref counts, too
    if (is_nullable(*schema)) null = kNullType;
    const json::Value* target = resolved(root, schema, work);
    if (target == nullptr) continue;
    if (is_nullable(*target)) null = kNullType;
    types |= own_types(*target, work);
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      const json::Value* branches = target->find(key);
      if (branches == nullptr || !branches->is_array()) continue;
      for (const json::Value& branch : branches->as_array()) {
        if (--work < 0) break;
        open.push_back(&branch);
      }
    }
  }
  return (types == 0 ? kStringType : types) | null;
}

}  // namespace

ToolSchemas::ToolSchemas(const json::Value& tools) {
  if (!tools.is_array()) return;
  int64_t work = kMaxWork;
  for (const json::Value& tool : tools.as_array()) {
    const json::Value* function = tool.find("function");
    const json::Value* name = function ? function->find("name") : nullptr;
    if (name == nullptr || !name->is_string()) continue;
    Parameters& parameters = tools_[name->as_string()];
    const json::Value* root = function->find("parameters");
    const json::Value* schema = root ? resolved(*root, root, work) : nullptr;
    const json::Value* properties = schema ? schema->find("properties") : nullptr;
    if (properties == nullptr || !properties->is_object()) continue;
    for (const auto& [key, parameter] : properties->as_object()) {
      parameters[key] = types_of(*root, parameter, work);
    }
  }
}

bool ToolSchemas::has_tool(std::string_view name) const { return tools_.contains(name); }

TypeSet ToolSchemas::types(std::string_view tool, std::string_view parameter) const {
  const auto parameters = tools_.find(tool);
  if (parameters == tools_.end()) return kStringType;
  const auto types = parameters->second.find(parameter);
  return types == parameters->second.end() ? kStringType : types->second;
}

}  // namespace m2
