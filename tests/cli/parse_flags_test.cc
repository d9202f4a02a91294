#include "cli/parse_flags.h"

#include <gtest/gtest.h>

#include <set>

#include "cli/serve_flags.h"

namespace m2::cli {
namespace {

using Words = std::vector<std::string>;

ParsedFlags parse(const Words& words) {
  auto parsed = parse_flags(serve_command(), words);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message);
  return parsed ? std::move(*parsed) : ParsedFlags{};
}

std::string parse_error(const Words& words) {
  const auto parsed = parse_flags(serve_command(), words);
  return parsed ? "" : parsed.error().message;
}

std::string value(const ParsedFlags& flags, std::string_view name) {
  const json::Value* found = flags.find(name);
  return found ? json::dump(*found) : "absent";
}

TEST(ParseFlags, DashAndUnderscoreAreOne) {
  for (const char* spelling : {"--enable_expert_parallel", "--enable-expert-parallel",
                               "--enable_expert-parallel", "-ep"}) {
    EXPECT_EQ(value(parse({spelling}), "enable-expert-parallel"), "true") << spelling;
  }
}

TEST(ParseFlags, ValuesBehindASpaceOrAnEqualsSign) {
  for (const Words& words : {Words{"--tensor-parallel-size", "4"},
                             {"--tensor_parallel_size=4"},
                             {"-tp", "4"},
                             {"--tp", "4"},
                             {"-tp=4"}}) {
    EXPECT_EQ(value(parse(words), "tensor-parallel-size"), "4");
  }
}

TEST(ParseFlags, SwitchesTurnOffWithNo) {
  EXPECT_EQ(value(parse({"--no-enable-prefix-caching"}), "enable-prefix-caching"), "false");
  EXPECT_EQ(value(parse({"--no_enable_prefix_caching"}), "enable-prefix-caching"), "false");
  EXPECT_EQ(value(parse({"--enable-prefix-caching=false"}), "enable-prefix-caching"), "false");
  EXPECT_NE(parse_error({"--no-port"}), "");
  EXPECT_NE(parse_error({"--enable-prefix-caching=perhaps"}), "");
}

TEST(ParseFlags, ThePositionalArgumentIsTheModel) {
  const ParsedFlags flags = parse({"MiniMaxAI/MiniMax-M2.5", "--trust-remote-code"});
  EXPECT_EQ(flags.positionals, Words{"MiniMaxAI/MiniMax-M2.5"});
  EXPECT_NE(parse_error({"one", "two"}).find("'two'"), std::string::npos);
}

TEST(ParseFlags, ListsTakeWordsUpToTheNextFlag) {
  const ParsedFlags flags = parse({"--served-model-name", "a", "b", "--port", "1"});
  EXPECT_EQ(value(flags, "served-model-name"), R"(["a","b"])");
  EXPECT_EQ(value(flags, "port"), "1");
}

TEST(ParseFlags, AppendedListsGrow) {
  EXPECT_EQ(value(parse({"--api-key", "a", "--api-key", "b"}), "api-key"), R"(["a","b"])");
  EXPECT_EQ(
      value(parse({"--served-model-name", "a", "--served-model-name", "b"}), "served-model-name"),
      R"(["b"])");
}

TEST(ParseFlags, TheLastOfTwoWinsWithAWarning) {
  const ParsedFlags flags = parse({"--port", "1", "--port", "2"});
  EXPECT_EQ(value(flags, "port"), "2");
  EXPECT_EQ(flags.warnings.size(), 1u);
}

TEST(ParseFlags, JsonWholeAndDotted) {
  for (const Words& words : {Words{"--compilation-config", R"({"cudagraph_mode": "PIECEWISE"})"},
                             {R"(--compilation_config={"cudagraph_mode": "PIECEWISE"})"},
                             {"--compilation-config.cudagraph_mode", "PIECEWISE"},
                             {"-cc.cudagraph_mode", "PIECEWISE"},
                             {"-cc.cudagraph_mode=PIECEWISE"}}) {
    EXPECT_EQ(value(parse(words), "compilation-config"), R"({"cudagraph_mode":"PIECEWISE"})");
  }
  EXPECT_EQ(
      value(parse({"-cc.a.b", "1", "-cc.a.c_d", "x", "-cc.list+", "1,2"}), "compilation-config"),
      R"({"a":{"b":1,"c_d":"x"},"list":[1,2]})");
  EXPECT_NE(parse_error({"--compilation-config", "{"}), "");
  EXPECT_NE(parse_error({"--port.a", "1"}), "");
  EXPECT_NE(parse_error({"-cc..a", "1"}), "");
}

TEST(ParseFlags, OptimisationLevelsAsACompilerTakesThem) {
  EXPECT_EQ(value(parse({"-O2"}), "optimization-level"), "\"2\"");
  EXPECT_EQ(value(parse({"-O", "3"}), "optimization-level"), "\"3\"");
}

TEST(ParseFlags, UnknownFlagsNameTheNearest) {
  EXPECT_NE(parse_error({"--tensor-paralel-size", "4"}).find("--tensor-parallel-size"),
            std::string::npos);
  EXPECT_NE(parse_error({"--qqqqqqqqqqqq"}).find("--help"), std::string::npos);
}

TEST(ParseFlags, MissingValuesAreNamed) {
  EXPECT_NE(parse_error({"--port"}).find("--port"), std::string::npos);
  EXPECT_NE(parse_error({"--host", "--port", "1"}).find("--host"), std::string::npos);
  EXPECT_EQ(value(parse({"--max-model-len", "-1"}), "max-model-len"), "-1");
}

TEST(ParseCount, HumanReadableNumbers) {
  const std::pair<const char*, int64_t> cases[] = {
      {"0", 0},        {"1k", 1000},     {"1K", 1024},
      {"64k", 64000},  {"190k", 190000}, {"25.6k", 25600},
      {"2m", 2000000}, {"1M", 1048576},  {"4G", int64_t{4} << 30},
      {"-1", -1}};
  for (const auto& [text, expected] : cases) {
    const auto count = parse_count("f", text);
    ASSERT_TRUE(count) << text;
    EXPECT_EQ(*count, expected) << text;
  }
}

TEST(ParseCount, RefusesWhatIsNoNumber) {
  for (const char* text : {"", "k", "1.5", "1.5K", "1kk", "x", "1 k", "99999999999999999999",
                           "9999999999T", "-1k", "nan", "1e3"}) {
    EXPECT_FALSE(parse_count("f", text)) << text;
  }
}

TEST(CheckEffects, RefusalsSayWhyAndNeutralValuesPass) {
  ParsedFlags refused = parse({"--pipeline-parallel-size", "2"});
  const Status status = check_effects(serve_command(), refused);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
  EXPECT_NE(status.error().message.find("--pipeline-parallel-size 2"), std::string::npos);

  for (const Words& words : {Words{"-pp", "1"},
                             {"--no-enable-lora"},
                             {"--quantization", "fp8"},
                             {"--kv-cache-dtype", "auto"}}) {
    ParsedFlags neutral = parse(words);
    EXPECT_TRUE(check_effects(serve_command(), neutral)) << words[0];
  }
}

TEST(CheckEffects, FlagsWithoutEffectShareOneWarning) {
  ParsedFlags flags =
      parse({"--performance-mode", "balanced", "--dtype", "bfloat16", "--port", "1"});
  ASSERT_TRUE(check_effects(serve_command(), flags));
  ASSERT_EQ(flags.warnings.size(), 1u);
  EXPECT_TRUE(flags.notes.empty());
  EXPECT_NE(flags.warnings[0].find("--performance-mode"), std::string::npos);
  EXPECT_NE(flags.warnings[0].find("--dtype"), std::string::npos);
  EXPECT_EQ(flags.warnings[0].find("--port"), std::string::npos);
}

TEST(CheckEffects, NeedlessFlagsAreNoReasonToWarn) {
  ParsedFlags flags = parse({"--trust-remote-code", "--enable-prompt-tokens-details"});
  ASSERT_TRUE(check_effects(serve_command(), flags));
  EXPECT_TRUE(flags.warnings.empty());
  ASSERT_EQ(flags.notes.size(), 1u);
  EXPECT_NE(flags.notes[0].find("--trust-remote-code"), std::string::npos);
}

TEST(ServeCommand, NamesAreUniqueAndAliasesLead) {
  std::set<std::string_view> names;
  for (const Flag& flag : serve_command().flags) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    EXPECT_FALSE(flag.note.empty()) << flag.name;
  }
  for (const Alias& alias : serve_command().aliases) {
    EXPECT_TRUE(names.contains(alias.name)) << alias.alias;
  }
}

}  // namespace
}  // namespace m2::cli
