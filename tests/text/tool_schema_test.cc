#include "text/tool_schema.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace m2 {
namespace {

json::Value parsed(std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return value ? *value : json::Value();
}

ToolSchemas tool_with(std::string_view parameters) {
  return ToolSchemas(parsed(R"([{"type": "function", "function": {"name": "f", "parameters": )" +
                            std::string(parameters) + "}}]"));
}

// What `raw` becomes for a parameter with this schema, as JSON text.
std::string coerced(std::string_view schema, std::string_view raw) {
  const ToolSchemas schemas =
      tool_with(R"({"type": "object", "properties": {"p": )" + std::string(schema) + "}}");
  return json::dump_python(schemas.coerce("f", "p", raw));
}

TEST(ToolSchema, EveryReferencePairIsMet) {
  std::ifstream file(M2_SHARED_DIR "/parser_golden.json");
  if (!file) GTEST_SKIP() << "reference data is absent: " M2_SHARED_DIR "/parser_golden.json";
  std::stringstream text;
  text << file.rdbuf();
  const json::Value golden = parsed(text.str());
  const json::Array& pairs = golden.find("coercion")->as_array();
  EXPECT_EQ(pairs.size(), 215u);
  for (const json::Value& pair : pairs) {
    const std::string& name = pair.find("param")->as_string();
    json::Object properties;  // a null schema: a parameter that the tool does not declare
    const json::Value& schema = *pair.find("schema");
    properties.set(schema.is_null() ? "another" : name, schema);
    json::Object parameters;
    parameters.set("properties", json::Value(std::move(properties)));
    const ToolSchemas schemas = tool_with(json::dump(json::Value(std::move(parameters))));
    const std::string& raw = pair.find("raw")->as_string();
    json::Object arguments;
    arguments.set(name, schemas.coerce("f", name, raw));
    EXPECT_EQ(json::dump_python(json::Value(std::move(arguments))),
              pair.find("arguments")->as_string())
        << json::dump(schema) << " of [" << raw << "]";
  }
}

TEST(ToolSchema, KnowsItsToolsAndSkipsMalformedOnes) {
  const ToolSchemas schemas(parsed(R"([
    {"type": "function", "function": {"name": "a"}},
    {"type": "function", "function": {"name": "b", "parameters": null}},
    {"type": "function", "function": {"name": 5}}, {"type": "function"}, 7, null])"));
  EXPECT_TRUE(schemas.has_tool("a"));
  EXPECT_TRUE(schemas.has_tool("b"));
  EXPECT_FALSE(schemas.has_tool("c"));
  EXPECT_FALSE(schemas.empty());
  EXPECT_TRUE(ToolSchemas().empty());
  EXPECT_TRUE(ToolSchemas(parsed("{}")).empty());
  EXPECT_TRUE(schemas.is_plain_string("a", "x"));
  EXPECT_TRUE(schemas.is_plain_string("c", "x"));
}

TEST(ToolSchema, OnlyPlainStringsMayBeStreamed) {
  const ToolSchemas schemas = tool_with(R"({"properties": {
    "s": {"type": "string"}, "e": {"enum": ["a", "b"]}, "t": {"type": "text"}, "none": {},
    "n": {"type": ["string", "null"]}, "i": {"type": "integer"}, "o": {"type": "object"}}})");
  for (const char* name : {"s", "e", "t", "none", "undeclared"}) {
    EXPECT_TRUE(schemas.is_plain_string("f", name)) << name;
  }
  for (const char* name : {"n", "i", "o"}) {
    EXPECT_FALSE(schemas.is_plain_string("f", name)) << name;
  }
}

TEST(ToolSchema, FollowsReferencesWithinTheSchema) {
  const ToolSchemas schemas = tool_with(R"({
    "properties": {
      "city": {"$ref": "#/$defs/City"}, "count": {"$ref": "#/definitions/Count"},
      "maybe": {"anyOf": [{"$ref": "#/$defs/Chain"}, {"type": "null"}]},
      "odd": {"$ref": "#/$defs/a~1b"}, "beside": {"$ref": "#/$defs/City", "nullable": true},
      "missing": {"$ref": "#/$defs/Nowhere"}, "remote": {"$ref": "https://example.com/s.json"},
      "self": {"$ref": "#/properties/self"}},
    "$defs": {"City": {"type": "string"}, "Chain": {"$ref": "#/definitions/Count"},
              "a/b": {"type": "boolean"}},
    "definitions": {"Count": {"type": "integer"}}})");
  EXPECT_EQ(schemas.types("f", "city"), kStringType);
  EXPECT_EQ(schemas.types("f", "count"), kIntegerType);
  EXPECT_EQ(schemas.types("f", "maybe"), kIntegerType | kNullType);
  EXPECT_EQ(schemas.types("f", "odd"), kBooleanType);
  EXPECT_EQ(schemas.types("f", "beside"), kStringType | kNullType);
  // What leads nowhere says nothing: a string.
  for (const char* name : {"missing", "remote", "self"}) {
    EXPECT_EQ(schemas.types("f", name), kStringType) << name;
  }
  const ToolSchemas root = tool_with(R"({"$ref": "#/$defs/Args",
    "$defs": {"Args": {"properties": {"n": {"type": "number"}}}}})");
  EXPECT_EQ(root.types("f", "n"), kNumberType);
}

TEST(ToolSchema, ReferencesThatMultiplyAreBounded) {
  std::string defs;
  for (int i = 0; i < 40; ++i) {
    const std::string next = R"({"$ref": "#/$defs/d)" + std::to_string(i + 1) + R"("})";
    defs += R"("d)" + std::to_string(i) + R"(": {"anyOf": [)" + next + ", " + next + "]}, ";
  }
  // 2^40 paths lead to the integer.
  const ToolSchemas schemas = tool_with(R"({"properties": {"p": {"$ref": "#/$defs/d0"}},
    "$defs": {)" + defs + R"("d40": {"type": "integer"}}})");
  EXPECT_NE(schemas.types("f", "p"), 0);
}

TEST(ToolSchema, CollectsTypesFromEveryBranch) {
  EXPECT_EQ(coerced(R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", "5"), "5");
  EXPECT_EQ(coerced(R"({"allOf": [{"anyOf": [{"type": "boolean"}]}]})", "TRUE"), "true");
  EXPECT_EQ(coerced(R"({"type": "integer", "nullable": true})", "Null"), "null");
  EXPECT_EQ(coerced(R"({"nullable": true})", "none"), R"("none")");
  EXPECT_EQ(coerced(R"({"const": 3})", "3"), "3");
  EXPECT_EQ(coerced(R"({"enum": [1.5, true]})", "2.50"), "2.5");
  EXPECT_EQ(coerced(R"({"type": "dict"})", R"({"a":[1, 2.0]})"), R"({"a": [1, 2.0]})");
  EXPECT_EQ(coerced(R"({"type": "uint8"})", "7"), "7");
  EXPECT_EQ(coerced(R"({"type": ["object", "string"]})", "{broken"), R"("{broken")");
}

// A declared object's own properties are not looked at: the model wrote JSON, and it stands.
TEST(ToolSchema, JsonKeepsItsTypes) {
  EXPECT_EQ(
      coerced(R"({"type": "object", "properties": {"k": {"type": "integer"}}})", R"({"k":"7"})"),
      R"({"k": "7"})");
  EXPECT_EQ(coerced(R"({"type": "array", "items": {"type": "string"}})", "[1, 2]"), "[1, 2]");
}

TEST(Coercion, ReadsIntegersAsPythonDoes) {
  const auto text = [](std::string_view raw) {
    const auto value = python_int(raw);
    return value ? json::dump(*value) : "none";
  };
  EXPECT_EQ(text(" +1_000\n"), "1000");
  EXPECT_EQ(text("-007"), "-7");
  EXPECT_EQ(text("-0"), "0");
  EXPECT_EQ(text("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(text("-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(text("0123456789012345678901234567890"), "123456789012345678901234567890");
  for (const char* raw : {"", " ", "+", "_1", "1_", "1__0", "5.0", "0x10", "1 2", "--1", "1e3"}) {
    EXPECT_EQ(text(raw), "none") << raw;
  }
  EXPECT_EQ(text(std::string(4301, '1')), "none");
  EXPECT_EQ(text(std::string(4300, '1')), std::string(4300, '1'));
}

TEST(Coercion, ReadsFloatsAsPythonDoes) {
  const auto text = [](std::string_view raw) {
    const auto value = python_float(raw);
    return value ? json::dump_python(*value) : "none";
  };
  EXPECT_EQ(text(" 1_0.2_5 "), "10.25");
  EXPECT_EQ(text("5."), "5");
  EXPECT_EQ(text(".5"), "0.5");
  EXPECT_EQ(text("-0.0"), "0");
  EXPECT_EQ(text("+1E3"), "1000");
  EXPECT_EQ(text("1e-05"), "1e-05");
  EXPECT_EQ(text("1e22"), "10000000000000000000000");
  EXPECT_EQ(text("1e-400"), "0");
  EXPECT_EQ(text("0." + std::string(400, '0') + "1"), "0");
  for (const char* raw : {"", ".", "e5", "1e", "1e+", "nan", "inf", "-Infinity", "1e999", "1_.5",
                          "1._5", "0x1p3", "1,5", "1 e5"}) {
    EXPECT_EQ(text(raw), "none") << raw;
  }
  EXPECT_EQ(text(std::string(400, '9')), "none");
}

TEST(Coercion, JsonIsBounded) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  EXPECT_EQ(coerced(R"({"type": "array"})", deep), "\"" + deep + "\"");
}

}  // namespace
}  // namespace m2
