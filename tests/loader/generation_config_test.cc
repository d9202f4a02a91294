#include "loader/generation_config.h"

#include <gtest/gtest.h>

#include "tests/loader/test_files.h"

namespace m2 {
namespace {

TEST(GenerationConfigTest, ReadsThePublishedFile) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "generation_config.json",
                   R"({"bos_token_id":200019,"do_sample":true,"eos_token_id":200020,)"
                   R"("temperature":1.0,"top_p":0.95,"top_k":40,"transformers_version":"4.46.1"})");
  const auto config = load_generation_config(folder.path());
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->eos_token_ids, std::vector<int32_t>{200020});
  EXPECT_EQ(config->temperature, 1.0f);
  EXPECT_EQ(config->top_p, 0.95f);
  EXPECT_EQ(config->top_k, 40);
  EXPECT_EQ(config->repetition_penalty, 1.0f);
  EXPECT_FALSE(config->max_new_tokens.has_value());
}

TEST(GenerationConfigTest, AnAbsentFileGivesTheDefaults) {
  const test::TemporaryFolder folder;
  const auto config = load_generation_config(folder.path());
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(*config, GenerationConfig{});
}

TEST(GenerationConfigTest, OverridesOnlyWhatIsNamed) {
  GenerationConfig config;
  config.top_k = 40;
  config.top_p = 0.95f;
  const json::Value value =
      json::parse(R"({"eos_token_id":[3,4,3],"top_k":-1,"min_p":0.1,"top_p":null,)"
                  R"("max_new_tokens":100,"repetition_penalty":1.1,"unknown":[]})")
          .value();
  ASSERT_TRUE(apply_generation_config(value, config).has_value());
  EXPECT_EQ(config.eos_token_ids, (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(config.top_k, 0);
  EXPECT_EQ(config.top_p, 0.95f);
  EXPECT_EQ(config.min_p, 0.1f);
  EXPECT_EQ(config.repetition_penalty, 1.1f);
  EXPECT_EQ(config.max_new_tokens, 100);
}

TEST(GenerationConfigTest, RefusesWhatIsOutOfBounds) {
  for (const char* text :
       {R"({"temperature":-0.1})", R"({"temperature":"hot"})", R"({"top_p":0})", R"({"top_p":1.1})",
        R"({"top_k":-2})", R"({"top_k":1.5})", R"({"top_k":4294967296})", R"({"min_p":2})",
        R"({"repetition_penalty":0})", R"({"eos_token_id":-1})", R"({"eos_token_id":[true]})",
        R"({"eos_token_id":"x"})", R"({"max_new_tokens":0})", "[]"}) {
    GenerationConfig config;
    EXPECT_FALSE(apply_generation_config(json::parse(text).value(), config).has_value()) << text;
    EXPECT_EQ(config, GenerationConfig{}) << text;
  }
}

TEST(GenerationConfigTest, NamesTheFileTheFieldAndTheLimit) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "generation_config.json", R"({"top_p":7})");
  const auto config = load_generation_config(folder.path());
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().message,
            folder.path() + "/generation_config.json: top_p must be a number in (0, 1], got 7");
  EXPECT_EQ(config.error().field, "top_p");
  test::write_file(folder / "generation_config.json", "{");
  EXPECT_FALSE(load_generation_config(folder.path()).has_value());
}

}  // namespace
}  // namespace m2
