// However a reply is cut into pieces, it is parsed alike; wherever it ends, what was given out is
// valid. Over all recorded replies, by text and by token.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/text/golden_replies.h"

namespace m2 {
namespace {

// Cuts the pieces that may be cut (control tokens come whole) so that `is_cut(i)` says whether the
// i-th byte of the reply begins a piece.
template <typename IsCut>
Pieces cut(const Pieces& pieces, const IsCut& is_cut) {
  Pieces out;
  size_t at = 0;
  for (const Piece& piece : pieces) {
    const bool whole = piece.id >= 0 && piece.id != kOrdinaryToken;
    bool begins = true;
    for (const char c : piece.text) {
      if (begins || (!whole && is_cut(at))) out.push_back({piece.id, ""});
      out.back().text += c;
      begins = false;
      ++at;
    }
  }
  return out;
}

class ReplyParserProperty : public ::testing::Test {
 protected:
  void SetUp() override {
    replies_ = own_replies();
    const json::Value golden = read_json(M2_SHARED_DIR "/parser_golden.json");
    if (golden.is_null()) return;  // our own replies are enough to run
    for (const json::Value& entry : golden.find("cases")->as_array()) {
      replies_.push_back(reference_reply(entry));
    }
  }

  // Calls `check` with each reply's pieces, by text and by token.
  template <typename Check>
  void for_each_reply(const Check& check) {
    for (const GoldenReply& reply : replies_) {
      const ToolSchemas& schemas = reply.tools ? tools_ : none_;
      for (const Pieces& pieces : {as_text(reply.text), as_tokens(reply.text)}) {
        check(reply, pieces, [&](const Pieces& cut_pieces) {
          return parse_reply(cut_pieces, reply.options, schemas);
        });
        if (HasFailure()) FAIL() << reply.name << (pieces.size() == 1 ? "" : ", by token");
      }
    }
  }

  const ToolSchemas tools_ = test_tools();
  const ToolSchemas none_;
  std::vector<GoldenReply> replies_;
};

TEST_F(ReplyParserProperty, CutAtEveryByteAndInto1000RandomChunkings) {
  std::mt19937 random(20240601);
  for_each_reply([&](const GoldenReply& reply, const Pieces& pieces, const auto& parse) {
    const ParsedReply whole = parse(pieces);
    for (size_t place = 0; place < reply.text.size(); ++place) {
      ASSERT_EQ(parse(cut(pieces, [&](size_t at) { return at == place; })), whole) << place;
    }
    ASSERT_EQ(parse(cut(pieces, [](size_t) { return true; })), whole);
    for (int i = 0; i < 1000; ++i) {
      const unsigned one_in = 1 + random() % 20;
      const auto chunks = cut(pieces, [&](size_t) { return random() % one_in == 0; });
      ASSERT_EQ(parse(chunks), whole) << "chunking " << i;
    }
  });
}

// parse_reply checks that each call's arguments are valid JSON with no key twice.
TEST_F(ReplyParserProperty, CutOffAnywhereIsValidAndAPrefix) {
  for_each_reply([&](const GoldenReply& reply, const Pieces& pieces, const auto& parse) {
    const ParsedReply whole = parse(pieces);
    const Pieces bytes = cut(pieces, [](size_t) { return true; });
    for (size_t length = 0; length < bytes.size(); ++length) {
      const Pieces begun(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
      const ParsedReply reply_so_far = parse(begun);
      ASSERT_LE(reply_so_far.calls.size(), whole.calls.size()) << length;
      for (size_t i = 0; i < reply_so_far.calls.size(); ++i) {
        ASSERT_EQ(reply_so_far.calls[i].first, whole.calls[i].first);
      }
    }
  });
}

}  // namespace
}  // namespace m2
