#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/temporary_folder.h"
#include "tests/text/tiny_tokenizer.h"

namespace m2 {
namespace {

using Ids = std::vector<int32_t>;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto tokenizer = tiny_tokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 274);
  EXPECT_EQ(tokenizer->added_tokens().size(), tiny_added_tokens().size());
  EXPECT_EQ(tokenizer->token_id("<think>"), 270);
  EXPECT_EQ(tokenizer->token_id("user"), 259);
  EXPECT_EQ(tokenizer->token_id("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(263));   // [e~[
  EXPECT_FALSE(tokenizer->is_special(270));  // <think> stays in text
  EXPECT_TRUE(tokenizer->is_added(270));
  EXPECT_FALSE(tokenizer->is_added(259));
  EXPECT_EQ(tokenizer->token_bytes(0xE2), "\xE2");
  EXPECT_EQ(tokenizer->token_string(0x0A), "\xC4\x8A");  // Ċ
  EXPECT_EQ(tokenizer->token_bytes(0x0A), "\n");
  EXPECT_EQ(tokenizer->token_bytes(263), "[e~[");
  EXPECT_EQ(tokenizer->max_token_bytes(), 20);  // </minimax:tool_call>
  for (const int32_t id : {-1, 274, 275, 200063, 2147483647}) {
    EXPECT_EQ(tokenizer->token_bytes(id), "");
    EXPECT_EQ(tokenizer->token_string(id), "");
    EXPECT_FALSE(tokenizer->is_special(id));
    EXPECT_FALSE(tokenizer->is_added(id));
  }
}

TEST(Tokenizer, SpeaksAddedTokensOnlyWhenAsked) {
  const auto tokenizer = tiny_tokenizer();
  EXPECT_EQ(*tokenizer->encode("]~b]user", AddedTokens::kParse), (Ids{262, 259}));
  EXPECT_EQ(*tokenizer->encode("]~b]user", AddedTokens::kAsText), (Ids{']', '~', 'b', ']', 259}));
  for (const AddedToken& token : tokenizer->added_tokens()) {
    EXPECT_EQ(*tokenizer->encode(token.text, AddedTokens::kParse), Ids{token.id});
    const Ids plain = *tokenizer->encode(token.text, AddedTokens::kAsText);
    for (const int32_t id : plain) EXPECT_FALSE(tokenizer->is_added(id)) << token.text;
    EXPECT_EQ(tokenizer->decode(plain, true), token.text);
  }
  EXPECT_EQ(*tokenizer->encode("", AddedTokens::kParse), Ids{});
  EXPECT_EQ(*tokenizer->encode("e\xCC\x81", AddedTokens::kAsText), (Ids{0xC3, 0xA9}));  // NFC
  EXPECT_FALSE(tokenizer->encode("\xFF", AddedTokens::kAsText).has_value());
}

TEST(Tokenizer, DecodesAnyIds) {
  const auto tokenizer = tiny_tokenizer();
  EXPECT_EQ(tokenizer->decode(Ids{270, 'a', 263, 200060, -5, 0xE2, 0x82, 0xAC}, true),
            "<think>a\xE2\x82\xAC");
  EXPECT_EQ(tokenizer->decode(Ids{'a', 263}, false), "a[e~[");
  EXPECT_EQ(tokenizer->decode(Ids{0xE2, 0x82, 'x', 0xFF}, false), "\xEF\xBF\xBDx\xEF\xBF\xBD");
}

TEST(Tokenizer, RefusesBadFilesByName) {
  const test::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  };
  const auto refused = [](const std::string& path) {
    const auto tokenizer = Tokenizer::load(path);
    EXPECT_FALSE(tokenizer.has_value());
    EXPECT_NE(tokenizer.error().message.find(path), std::string::npos);
    return tokenizer ? std::string() : tokenizer.error().message;
  };
  EXPECT_TRUE(Tokenizer::load(write("tiny.json", tiny_tokenizer_json())).has_value());
  refused("/nowhere/tokenizer.json");
  refused(folder.path());
  refused(write("bad.json", "{\"model\": 1}"));
  std::string text = tiny_tokenizer_json();
  refused(write("cut.json", text.substr(0, text.size() / 2)));
  text.replace(text.find("\"BPE\""), 5, "\"Unigram\"");
  refused(write("unigram.json", text));
  // The library would number this token anew, without a word.
  text = tiny_tokenizer_json();
  text.replace(text.find("\"id\":270"), 8, "\"id\":300");
  EXPECT_NE(refused(write("gap.json", text)).find("270"), std::string::npos);
}

TEST(OfficialTokenizer, GivesTheGoldenTokens) {
  const std::string folder = M2_SHARED_DIR;
  if (!std::filesystem::exists(folder + "/tokenizer.json")) {
    GTEST_SKIP() << "no official tokenizer.json in " << folder;
  }
  const auto tokenizer = Tokenizer::load(folder + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->vocab_size(), 200054);
  EXPECT_EQ((*tokenizer)->token_bytes(200063), "");
  EXPECT_EQ((*tokenizer)->token_id("]~b]"), 200019);
  EXPECT_EQ((*tokenizer)->added_tokens().size(), 54u);
  const auto golden = json::parse(read(folder + "/golden_tokens.json"));
  ASSERT_TRUE(golden.has_value());
  int cases = 0;
  for (const json::Value& one : golden->as_array()) {
    const std::string& text = one.find("text")->as_string();
    Ids expected;
    for (const json::Value& id : one.find("ids")->as_array()) {
      expected.push_back(static_cast<int32_t>(id.as_int()));
    }
    EXPECT_EQ(*(*tokenizer)->encode(text, AddedTokens::kParse), expected) << text;
    EXPECT_EQ(*(*tokenizer)->encode(text, AddedTokens::kAsText), expected) << text;
    EXPECT_EQ((*tokenizer)->decode(expected, false), text);
    ++cases;
  }
  EXPECT_EQ(cases, 45);
}

}  // namespace
}  // namespace m2
