#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/text/tiny_tokenizer.h"

namespace m2 {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

TEST(Detokenizer, HoldsBackSplitCharacters) {
  const auto tokenizer = tiny_tokenizer();
  Detokenizer detokenizer(*tokenizer, true);
  EXPECT_EQ(detokenizer.push('a'), "a");
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push(0x9F), "");
  EXPECT_EQ(detokenizer.push(0x9A), "");
  EXPECT_EQ(detokenizer.push(0x80), "\xF0\x9F\x9A\x80");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, ShowsWhatCanNeverBecomeText) {
  const auto tokenizer = tiny_tokenizer();
  Detokenizer detokenizer(*tokenizer, true);
  EXPECT_EQ(detokenizer.push(0xE2), "");
  EXPECT_EQ(detokenizer.push('x'), kBad + "x");
  EXPECT_EQ(detokenizer.push(0x80), kBad);
  EXPECT_EQ(detokenizer.push(0xE2), "");
  EXPECT_EQ(detokenizer.push(0x82), "");
  EXPECT_EQ(detokenizer.flush(), kBad);
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, LeavesOutSpecialTokensWhenAsked) {
  const auto tokenizer = tiny_tokenizer();
  Detokenizer skipping(*tokenizer, true);
  Detokenizer showing(*tokenizer, false);
  EXPECT_EQ(skipping.push(263), "");
  EXPECT_EQ(showing.push(263), "[e~[");
  // Control tokens of the reply format are not special; padding rows stand for nothing.
  EXPECT_EQ(skipping.push(270), "<think>");
  EXPECT_EQ(skipping.push(200063), "");
  EXPECT_EQ(skipping.push(-1), "");
}

TEST(Detokenizer, PiecesJoinToTheWhole) {
  const auto tokenizer = tiny_tokenizer();
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(static_cast<int32_t>(random() % 280));
    // Half of the rounds hold only bytes above 0x7F, where characters break most.
    if (round % 2 == 0) {
      for (int32_t& id : ids) id = 0x80 + id % 0x80;
    }
    for (const bool skip : {false, true}) {
      Detokenizer detokenizer(*tokenizer, skip);
      std::string joined;
      for (const int32_t id : ids) joined += detokenizer.push(id);
      joined += detokenizer.flush();
      EXPECT_EQ(joined, tokenizer->decode(ids, skip));
    }
  }
}

}  // namespace
}  // namespace m2
