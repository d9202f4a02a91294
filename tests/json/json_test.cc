#include "json/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include "json/utf8.h"

namespace m2::json {
namespace {

Value parsed(std::string_view text) {
  auto value = parse(text);
  EXPECT_TRUE(value.has_value()) << text << ": " << value.error().message;
  return value ? *value : Value();
}

TEST(Json, DumpsWhatPythonDumps) {
  std::ifstream file(M2_SOURCE_DIR "/tests/json/dumps.golden");
  std::string text, expected;
  int cases = 0;
  while (std::getline(file, text) && std::getline(file, expected)) {
    const auto value = parse(text, {}, /*accept_nan=*/true);
    ASSERT_TRUE(value.has_value()) << text << ": " << value.error().message;
    EXPECT_EQ(dump_python(*value), expected) << "from " << text;
    // What was written reads back to the same value.
    const auto again = parse(expected, {}, true);
    ASSERT_TRUE(again.has_value()) << expected;
    EXPECT_EQ(dump_python(*again), expected);
    ++cases;
  }
  EXPECT_GT(cases, 900);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "[1,]",
                           "{\"a\":1,}",
                           "[1",
                           "{\"a\"}",
                           "{a:1}",
                           "'a'",
                           "nul",
                           "tru",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "0x1",
                           "[1] 2",
                           "\"\x01\"",
                           "\"\t\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "// c\n1",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\xff\"",
                           "\"\xed\xa0\x80\"",
                           "NaN",
                           "[Infinity]",
                           "-Infinity",
                           "1e400",
                           "-1e999",
                           "\xEF\xBB\xBF{}",
                           "[1 2]",
                           "{\"a\" 1}"}) {
    EXPECT_FALSE(parse(text).has_value()) << text;
  }
  for (const char* text :
       {"{NaN: 1}", "NaN1", "-NaN", "+Infinity", "[NaN", "Inf", "{Infinity:1}"}) {
    EXPECT_FALSE(parse(text, {}, true).has_value()) << text;
  }
  const auto error = parse("{\"a\": [1, 2, x]}");
  ASSERT_FALSE(error.has_value());
  EXPECT_EQ(error.error().kind, ErrorKind::kInvalidArgument);
  EXPECT_NE(error.error().message.find("byte 13"), std::string::npos) << error.error().message;
}

TEST(Json, KeepsTheLimits) {
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  EXPECT_TRUE(parse(deep).has_value());
  EXPECT_FALSE(parse("[" + deep + "]").has_value());
  // Far too deep ends at the limit, not in the stack.
  EXPECT_FALSE(parse(std::string(10'000'000, '[')).has_value());
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) objects += "{\"a\":";
  EXPECT_NE(parse(objects).error().message.find("deeper than 64"), std::string::npos);

  Limits small;
  small.max_elements = 5;
  EXPECT_TRUE(parse("[1,[2,3],4]", small).has_value());
  EXPECT_FALSE(parse("[1,[2,3],4,5]", small).has_value());
  EXPECT_FALSE(parse("{\"a\":[1,2,3],\"b\":1,\"c\":1}", small).has_value());
  small.max_bytes = 3;
  EXPECT_EQ(parse("[1,2]", small).error().kind, ErrorKind::kTooLarge);

  EXPECT_TRUE(parse(std::string(4300, '9')).has_value());
  EXPECT_FALSE(parse(std::string(4301, '9')).has_value());
}

TEST(Json, SaysWhatIsWrongWithText) {
  const auto said = [](std::string_view text) { return parse(text).error().message; };
  EXPECT_EQ(said("{\"a\":\"x\xff\"}"), "invalid JSON at byte 7: the text is not valid UTF-8");
  EXPECT_EQ(said("[\"\xed\xa0\x80\"]"), "invalid JSON at byte 2: the text is not valid UTF-8");
  EXPECT_EQ(said("\xff"), "invalid JSON at byte 0: the text is not valid UTF-8");
  for (const char* half : {R"("\ud83d")", R"("\ud83dx")", R"("\uD83D\n")", R"("\ud83d\ud83d")",
                           R"("\udc00")", R"("\uDFFF\ud800")"}) {
    EXPECT_NE(said(half).find("a lone surrogate"), std::string::npos) << half << ": " << said(half);
  }
  EXPECT_EQ(said("[1,]").find("UTF-8"), std::string::npos);
  EXPECT_EQ(said("[\"d83d\" x").find("surrogate"), std::string::npos);
}

TEST(Json, ReadsManyKeysInLinearTime) {
  // A quadratic reader needs minutes for this; the test's time limit is the assertion.
  std::string text = "{";
  for (int i = 0; i < 400'000; ++i) text += "\"k" + std::to_string(i) + "\":" + "1,";
  text += "\"k0\":2}";
  const Value value = parsed(text);
  EXPECT_EQ(value.as_object().size(), 400'000u);
  EXPECT_EQ(value.find("k0")->as_int(), 2);
  EXPECT_EQ(value.as_object().begin()->first, "k0");
  EXPECT_TRUE(value == parsed(text));
}

TEST(Json, TellsKindsOfNumbersApart) {
  EXPECT_TRUE(parsed("1").is_int());
  EXPECT_TRUE(parsed("1.0").is_double());
  EXPECT_TRUE(parsed("1e3").is_double());
  EXPECT_TRUE(parsed("9223372036854775807").is_int());
  EXPECT_TRUE(parsed("-9223372036854775808").is_int());
  EXPECT_TRUE(parsed("9223372036854775808").is_big_integer());
  EXPECT_FALSE(parsed("1") == parsed("1.0"));
  EXPECT_DOUBLE_EQ(parsed("1000000000000000000000").as_double(), 1e21);
  EXPECT_TRUE(std::signbit(parsed("-0.0").as_double()));
  EXPECT_TRUE(Value(std::numeric_limits<uint64_t>::max()).is_big_integer());
  EXPECT_EQ(dump(Value(std::numeric_limits<uint64_t>::max())), "18446744073709551615");
  EXPECT_TRUE(Value(uint64_t{5}).is_int());
}

TEST(Json, ObjectsKeepOrderAndTheLastOfRepeatedKeys) {
  EXPECT_EQ(dump(parsed(R"({"b":1,"a":2,"b":3})")), R"({"b":3,"a":2})");
  Object object;
  object.set("x", 1);
  object.set("y", "two");
  object.set("x", Value(Array{1, 2.5, nullptr}));
  EXPECT_EQ(dump(object), R"({"x":[1,2.5,null],"y":"two"})");
  EXPECT_TRUE(object.erase("x"));
  EXPECT_FALSE(object.erase("x"));
  EXPECT_EQ(object.find("x"), nullptr);
  EXPECT_EQ(Value(3).find("x"), nullptr);
  EXPECT_TRUE(parsed(R"({"a":1,"b":[{}]})") == parsed(R"({"b":[{}],"a":1})"));
  EXPECT_FALSE(parsed(R"({"a":1})") == parsed(R"({"a":2})"));
  EXPECT_FALSE(parsed(R"({"a":1})") == parsed(R"({"a":1,"b":1})"));
  EXPECT_FALSE(parsed("[1]") == parsed("[1,2]"));
}

TEST(Json, DumpIsCompactAndAlwaysJson) {
  EXPECT_EQ(dump(parsed(R"({"a" : [ 1, {"b": null} ], "c" : true})")),
            R"({"a":[1,{"b":null}],"c":true})");
  EXPECT_EQ(dump(Value(std::nan(""))), "null");
  EXPECT_EQ(dump(Value(-HUGE_VAL)), "null");
  EXPECT_EQ(dump_python(Value(std::nan(""))), "NaN");
}

TEST(Json, QuotesInvalidUtf8AsReplacementCharacters) {
  std::string out = "x";
  append_quoted(out, "a\xff\xe2\x82z\xf0\x9f\x9a");
  EXPECT_EQ(out, "x\"a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\"");
  out.clear();
  append_quoted(out, std::string_view("\0\x1f\x7f\"\\/", 6));
  EXPECT_EQ(out, "\"\\u0000\\u001f\x7f\\\"\\\\/\"");
}

TEST(Utf8, SplitsMaximalInvalidSequences) {
  const auto mended = [](std::string_view text) {
    std::string out;
    append_valid_utf8(out, text);
    return out;
  };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(mended("h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80"),
            "h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80");
  EXPECT_EQ(mended("\xC0\xAF"), bad + bad);                      // overlong
  EXPECT_EQ(mended("\xE0\x80\x80"), bad + bad + bad);            // overlong
  EXPECT_EQ(mended("\xED\xA0\x80"), bad + bad + bad);            // a surrogate
  EXPECT_EQ(mended("\xF4\x90\x80\x80"), bad + bad + bad + bad);  // past Unicode
  EXPECT_EQ(mended("\xF0\x9F\x9A"
                   "a"),
            bad + "a");                // cut short
  EXPECT_EQ(mended("\xE2\x82"), bad);  // cut short by the end
  EXPECT_TRUE(next_utf8("\xE2\x82", 0).incomplete);
  EXPECT_FALSE(next_utf8("\xE2"
                         "a",
                         0)
                   .incomplete);
  EXPECT_FALSE(is_valid_utf8("a\x80"));
  EXPECT_TRUE(is_valid_utf8("\xEF\xBF\xBF"));
}

}  // namespace
}  // namespace m2::json
