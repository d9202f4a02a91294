#include "server/stop_matcher.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

struct Outcome {
  std::string text;
  int stop = -1;
};

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
            bool include = false) {
  StopMatcher matcher(stops, include);
  Outcome outcome;
  std::vector<StopMatcher::Piece> out;
  for (size_t i = 0; i < pieces.size() && outcome.stop < 0; ++i) {
    outcome.stop = matcher.push(static_cast<int32_t>(i), pieces[i], true, out);
  }
  if (outcome.stop < 0) matcher.flush(out);
  for (const auto& piece : out) outcome.text += piece.text;
  return outcome;
}

TEST(StopMatcher, WithoutStopsAllTextPasses) { EXPECT_EQ(run({}, {"a", "", "b"}).text, "ab"); }

TEST(StopMatcher, CutsBeforeTheStopString) {
  const Outcome outcome = run({"END"}, {"some text END more"});
  EXPECT_EQ(outcome.text, "some text ");
  EXPECT_EQ(outcome.stop, 0);
}

TEST(StopMatcher, CutsAfterItWhenIncluded) {
  EXPECT_EQ(run({"END"}, {"x E", "ND y"}, true).text, "x END");
}

TEST(StopMatcher, FindsWhatIsSpreadOverTokens) {
  EXPECT_EQ(run({"\n\nUser:"}, {"hi", "\n", "\n", "Us", "er", ":", " x"}).text, "hi");
}

TEST(StopMatcher, TheFirstToBeCompleteWins) {
  EXPECT_EQ(run({"abcd", "bc"}, {"xabcd"}).stop, 1);
  EXPECT_EQ(run({"abcd", "bc"}, {"xabcd"}).text, "xa");
}

TEST(StopMatcher, HoldsBackOnlyWhatMayStillBecomeOne) {
  StopMatcher matcher({"stop"}, false);
  std::vector<StopMatcher::Piece> out;
  EXPECT_EQ(matcher.push(1, "go ", true, out), -1);
  EXPECT_EQ(out.size(), 1u);
  EXPECT_EQ(matcher.push(2, "st", true, out), -1);
  EXPECT_EQ(out.size(), 1u);  // held
  EXPECT_EQ(matcher.push(3, "art", true, out), -1);
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[1].token, 2);
  EXPECT_EQ(out[1].text, "st");
}

TEST(StopMatcher, FallsBackToAShorterBeginning) {
  EXPECT_EQ(run({"aab"}, {"a", "a", "a", "b", "!"}).text, "a");
  EXPECT_EQ(run({"abab!"}, {"ababab!"}).text, "ab");
}

TEST(StopMatcher, DoesNotLookBeforeItIsTold) {
  StopMatcher matcher({"ab"}, false);
  std::vector<StopMatcher::Piece> out;
  EXPECT_EQ(matcher.push(0, "xab a", false, out), -1);
  EXPECT_EQ(out.size(), 1u);
  EXPECT_EQ(matcher.push(1, "b", true, out), -1) << "begun where nobody looked";
  EXPECT_EQ(matcher.push(2, "ab", true, out), 0);
}

// Every way to cut a text gives the same answer as the whole.
TEST(StopMatcher, CutsOfTheTextDoNotMatter) {
  const std::string text = "aabaabab-aabab";
  for (const std::vector<std::string>& stops :
       {std::vector<std::string>{"abab"}, {"bab", "aabab"}, {"zz"}, {"-", "b-"}}) {
    const Outcome whole = run(stops, {text});
    for (unsigned cuts = 0; cuts < (1u << (text.size() - 1)); cuts += 7) {
      std::vector<std::string> pieces(1);
      for (size_t i = 0; i < text.size(); ++i) {
        pieces.back() += text[i];
        if (cuts >> i & 1) pieces.emplace_back();
      }
      const Outcome cut = run(stops, pieces);
      ASSERT_EQ(cut.text, whole.text);
      ASSERT_EQ(cut.stop, whole.stop);
    }
  }
}

}  // namespace
}  // namespace m2
