#include "server/choice_text.h"

#include <gtest/gtest.h>

#include "tests/text/tiny_tokenizer.h"

namespace m2 {
namespace {

// The tiny tokenizer with special tags: skipping special tokens must not hide them from the parser.
std::unique_ptr<Tokenizer> tokenizer_with_special_tags() {
  std::string text = tiny_tokenizer_json();
  for (size_t at = 0; (at = text.find("\"special\":false", at)) != std::string::npos; ++at) {
    text.replace(at, 15, "\"special\":true");
  }
  return std::move(*Tokenizer::parse("tiny", text));
}

TEST(ChoiceText, HalfACharacterStaysBeforeTheTagThatCutsIt) {
  const auto tokenizer = tokenizer_with_special_tags();
  ChoiceTextRules rules(*tokenizer);
  rules.parser.emplace();
  rules.control = reply_tokens(*tokenizer);
  ASSERT_GE(rules.control.think_end, 0);
  ASSERT_TRUE(tokenizer->is_special(rules.control.think_end));
  ChoiceText text(rules);
  text.push('a');
  text.push(0xE2);  // would be completed by 0x82 0xAC
  text.push(rules.control.think_end);
  text.push('b');
  text.finish();
  EXPECT_EQ(text.pending().reasoning, "a\uFFFD");
  EXPECT_EQ(text.pending().content, "b");
}

}  // namespace
}  // namespace m2
