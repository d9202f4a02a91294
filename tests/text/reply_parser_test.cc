#include "text/reply_parser.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/text/parsed_reply.h"

namespace m2 {
namespace {

ReplyParserOptions with_tools() {
  ReplyParserOptions options;
  options.parse_tools = true;
  return options;
}

// Streams the text one byte at a time by text, and with ids; both give the same.
ParsedReply parse(std::string_view text, const ReplyParserOptions& options = with_tools()) {
  const ToolSchemas schemas = test_tools();
  ParsedReply by_id = parse_reply(as_tokens(text), options, schemas);
  Pieces bytes;
  for (const char c : text) bytes.push_back({-1, std::string(1, c)});
  EXPECT_EQ(parse_reply(bytes, options, schemas), by_id);
  return by_id;
}

std::string call(std::string_view name, std::string_view body) {
  return "<invoke name=\"" + std::string(name) + "\">\n" + std::string(body) + "</invoke>\n";
}
std::string parameter(std::string_view name, std::string_view value) {
  return "<parameter name=\"" + std::string(name) + "\">" + std::string(value) + "</parameter>\n";
}
std::string envelope(std::string_view calls) {
  return "<minimax:tool_call>\n" + std::string(calls) + "</minimax:tool_call>";
}
// The arguments of one call to `write` with this text after </think>.
std::string arguments_of(std::string_view text) {
  const ParsedReply reply = parse("R</think>" + std::string(text));
  EXPECT_EQ(reply.content, "") << text;
  EXPECT_EQ(reply.calls.size(), 1u) << text;
  return reply.calls.size() == 1 ? reply.calls[0].second : "";
}

TEST(ReplyParser, StringsStreamWhileTheyAreWritten) {
  const ToolSchemas schemas = test_tools();
  ReplyParser parser(with_tools(), kTestTokens, schemas);
  parser.push(kTestTokens.think_end, "</think>");
  parser.push(kTestTokens.tool_begin, "<minimax:tool_call>");
  ReplyDelta delta = parser.push(kOrdinaryToken, "\n<invoke name=\"write\">");
  ASSERT_EQ(delta.tool_calls.size(), 1u);
  EXPECT_TRUE(delta.tool_calls[0].first);
  EXPECT_EQ(delta.tool_calls[0].name, "write");
  const auto arguments = [&](std::string_view text) {
    const ReplyDelta next = parser.push(kOrdinaryToken, text);
    return next.tool_calls.empty() ? "" : next.tool_calls[0].arguments;
  };
  EXPECT_EQ(arguments("<parameter name=\"text\">"), R"({"text": ")");
  EXPECT_EQ(arguments("say \"hi\""), R"(say \"hi\")");
  EXPECT_EQ(arguments("\n<"), R"(\n)");
  EXPECT_EQ(arguments("/p"), "");
  EXPECT_EQ(arguments("re>"), "</pre>");
  EXPECT_EQ(arguments("\xE5\x8C"), "");  // half a character
  EXPECT_EQ(arguments("\x97"), "\xE5\x8C\x97");
  EXPECT_EQ(arguments("</parameter>\n<parameter name=\"note\">"), "\"");
  EXPECT_EQ(arguments("nu"), "");  // may yet be null
  EXPECT_EQ(arguments("m"), R"(, "note": "num)");
  EXPECT_EQ(arguments("</parameter><parameter name=\"mode\">"), "\"");
  EXPECT_EQ(arguments("6"), "");  // a number is not known before its end
  EXPECT_EQ(arguments("4</parameter>\n</invoke>"), R"(, "mode": 64})");
  EXPECT_TRUE(parser.finish().empty());
}

TEST(ReplyParser, AnEnvelopeEndsReasoning) {
  const ParsedReply reply = parse("I look.\n" + envelope(call("ping", "")));
  EXPECT_EQ(reply.reasoning, "I look.");
  EXPECT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(reply.calls[0].second, "{}");
}

TEST(ReplyParser, ReasoningTokensAreThoseBeforeTheTag) {
  const ToolSchemas schemas;
  const Pieces pieces = {{1, "<think>"}, {1000, "a"},     {1001, " b"},
                         {1002, "\n"},   {2, "</think>"}, {1003, "c"}};
  EXPECT_EQ(parse_reply(pieces, {}, schemas).reasoning_tokens, 3);
  ReplyParserOptions options;
  options.reasoning = ReasoningMode::kAppendThink;
  EXPECT_EQ(parse_reply(pieces, options, schemas).reasoning_tokens, 3);
}

TEST(ReplyParser, ATagCountsByItsIdEvenWithoutText) {
  const Pieces pieces = {{1000, "a"}, {2, ""}, {1000, "b"}, {3, ""}, {1000, call("ping", "")},
                         {4, ""}};
  const ParsedReply reply = parse_reply(pieces, with_tools(), test_tools());
  EXPECT_EQ(reply.reasoning, "a");
  EXPECT_EQ(reply.content, "b");
  EXPECT_EQ(reply.calls.size(), 1u);
}

TEST(ReplyParser, TagsSpelledByOrdinaryTokensAreText) {
  const std::string spelled = "say </think> or <minimax:tool_call> or <think>";
  const Pieces pieces = {{1000, spelled}, {2, "</think>"}, {1000, spelled}};
  const ParsedReply reply = parse_reply(pieces, with_tools(), test_tools());
  EXPECT_EQ(reply.reasoning, spelled);
  EXPECT_EQ(reply.content, spelled);
  // A tokenizer without these tokens: by text.
  const ParsedReply by_text =
      parse_reply({{1000, "a</thi"}, {1000, "nk>b"}}, {}, {}, ReplyTokens());
  EXPECT_EQ(by_text.reasoning, "a");
  EXPECT_EQ(by_text.content, "b");
}

TEST(ReplyParser, ClosingParameterInsideAValueSurvives) {
  const auto value = [](std::string_view text) {
    return arguments_of(envelope(call("write", parameter("text", text))));
  };
  EXPECT_EQ(value("a</parameter>b"), R"({"text": "a</parameter>b"})");
  EXPECT_EQ(value("a</parameter>"), R"({"text": "a</parameter>"})");
  EXPECT_EQ(value("</parameter> </parameter>"), R"({"text": "</parameter> </parameter>"})");
  EXPECT_EQ(value("</parameter></par"), R"({"text": "</parameter></par"})");
  EXPECT_EQ(value("</parameter>\n<invoke name=\"x\">"),
            R"({"text": "</parameter>\n<invoke name=\"x\">"})");
  EXPECT_EQ(value("</parameter><parameter nome"), R"({"text": "</parameter><parameter nome"})");
  EXPECT_EQ(value("<think>x</think>"), R"({"text": "<think>x</think>"})");
  EXPECT_EQ(value("<minimax:tool_call>"), R"({"text": "<minimax:tool_call>"})");
}

TEST(ReplyParser, ClosingInvokeInsideAValueSurvives) {
  const auto value = [](std::string_view text) {
    return arguments_of(envelope(call("write", parameter("text", text))));
  };
  EXPECT_EQ(value("a</invoke>b"), R"({"text": "a</invoke>b"})");
  EXPECT_EQ(value("</invoke>\n</invoke> c"), R"({"text": "</invoke>\n</invoke> c"})");
  EXPECT_EQ(value("</minimax:tool_call>\nx"), R"({"text": "</minimax:tool_call>\nx"})");
}

TEST(ReplyParser, WhatIsLeftOpenIsClosed) {
  const std::string open = "<minimax:tool_call><invoke name=\"write\"><parameter name=\"text\">a";
  for (const char* rest : {"", "</invoke></minimax:tool_call>", "</invoke>", "</minimax:tool_call>",
                           "</parameter>", "</parameter></minimax:tool_call>", "</para",
                           "</parameter>\n</inv", "</invoke>\n<minimax:tool_call>"}) {
    EXPECT_EQ(arguments_of(open + rest), R"({"text": "a"})") << rest;
  }
  EXPECT_EQ(arguments_of(open + "<"), R"({"text": "a<"})");
  // The next parameter ends the one before it; the next call ends the call before it.
  EXPECT_EQ(arguments_of(open + "\n<parameter name=\"mode\">2</parameter>"),
            R"({"text": "a\n", "mode": 2})");
  const ParsedReply next = parse("</think>" + open + "</invoke><invoke name=\"ping\">");
  EXPECT_EQ(next.calls.size(), 2u);
  // Half a number is left out, a whole one is not.
  const std::string number = "<minimax:tool_call><invoke name=\"write\"><parameter name=\"mode\">1";
  EXPECT_EQ(arguments_of(number), "{}");
  EXPECT_EQ(arguments_of(number + "</parameter>"), R"({"mode": 1})");
}

TEST(ReplyParser, TheFirstValueOfAKeyWins) {
  EXPECT_EQ(
      arguments_of(envelope(call("write", parameter("text", "1") + parameter("text", "2") +
                                              parameter("mode", "3") + parameter("mode", "4")))),
      R"({"text": "1", "mode": 3})");
}

TEST(ReplyParser, NamesMayBeQuotedOrBare) {
  EXPECT_EQ(arguments_of("<minimax:tool_call><invoke name='write'><parameter name=text>a"
                         "</parameter>< parameter name = 'mode' >2< / parameter ></invoke>"
                         "</minimax:tool_call>"),
            R"({"text": "a", "mode": 2})");
  EXPECT_EQ(arguments_of("<minimax:tool_call><invoke name=write>"
                         "<parameter name=\" text \">a</parameter><parameter name=\"\">b"
                         "</parameter><parameter name=\"note>c</parameter></invoke>"),
            R"({"text": "a", "note": "c"})");
}

TEST(ReplyParser, SeveralEnvelopesAndTextAroundThem) {
  const ParsedReply reply =
      parse("R</think>\n\nFirst. " + envelope(call("ping", "") + call("get_weather", "")) + "\n\n" +
            envelope(call("ping", "")) + "\nThen.\n" + envelope(call("ping", "")) + "\n");
  EXPECT_EQ(reply.content, "\n\nFirst. \nThen.\n");
  EXPECT_EQ(reply.calls.size(), 4u);
}

TEST(ReplyParser, BlanksAloneAreTheReplyOnlyWithoutCalls) {
  EXPECT_EQ(parse("R \n</think>\n\n").content, "\n\n");
  EXPECT_EQ(parse("R \n</think>\n\n").reasoning, "R");
  EXPECT_EQ(parse("R</think>\n\nHi \n").content, "\n\nHi \n");
  EXPECT_EQ(parse("R</think>\n\n" + envelope("")).content, "");
}

TEST(ReplyParser, ACallWithoutEnvelopeCounts) {
  const ParsedReply reply = parse("R</think>So " + call("ping", "") + "Done.");
  EXPECT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(reply.content, "So \nDone.");
  EXPECT_EQ(parse("R</think>So " + call("ping", "") + call("ping", "")).content, "So ");
  EXPECT_EQ(parse("R</think>So <invoke name=\"pi").content, "So <invoke name=\"pi");
  EXPECT_EQ(parse("say <invoke name=\"ping\"> so").reasoning, "say <invoke name=\"ping\"> so");
}

TEST(ReplyParser, StrayTagsInContent) {
  const ParsedReply reply = parse("R</think>a</think>b</minimax:tool_call>c<think>d");
  EXPECT_EQ(reply.content, "abc<think>d");
}

TEST(ReplyParser, ThinkingThatTheModelOpensItself) {
  ReplyParserOptions options = with_tools();
  options.starts_in_reasoning = false;
  EXPECT_EQ(parse("\n<think>R</think>c", options).reasoning, "R");
  EXPECT_EQ(parse("\n<think>R</think>c", options).content, "c");
  EXPECT_EQ(parse("c<think>R", options).content, "c<think>R");
}

TEST(ReplyParser, UnknownNamesAreDroppedWithoutAGap) {
  const std::string text = "</think>" + envelope(call("nope", parameter("a", "b")) +
                                                 call("ping", "") + call("", "") + call("no", ""));
  const ParsedReply strict = parse(text);
  EXPECT_EQ(strict.calls.size(), 1u);
  ReplyParserOptions options = with_tools();
  options.strict_names = false;
  const ParsedReply lenient = parse(text, options);
  ASSERT_EQ(lenient.calls.size(), 3u);
  EXPECT_EQ(lenient.calls[0].second, R"({"a": "b"})");
}

TEST(ReplyParser, CallsBeyondTheLimitAndUnwantedOnesAreDropped) {
  const std::string text = "</think>" + envelope(call("ping", "") + call("ping", "")) + "Done.";
  ReplyParserOptions options = with_tools();
  options.max_tool_calls = 1;
  EXPECT_EQ(parse(text, options).calls.size(), 1u);
  options.suppress_tools = true;
  EXPECT_EQ(parse(text, options).calls.size(), 0u);
  EXPECT_EQ(parse(text, options).content, "Done.");
}

TEST(ReplyParser, WithoutToolsMarkupIsText) {
  const std::string markup = envelope(call("ping", ""));
  const ParsedReply reply = parse("R</think>\n\n" + markup, {});
  EXPECT_EQ(reply.content, "\n\n" + markup);
}

TEST(ReplyParser, AppendThinkIsEverythingButTheCalls) {
  ReplyParserOptions options = with_tools();
  options.reasoning = ReasoningMode::kAppendThink;
  const ParsedReply reply =
      parse("R\n</think>\n\n" + envelope(call("ping", "")) + "\nDone.", options);
  EXPECT_EQ(reply.reasoning, "");
  EXPECT_EQ(reply.content, "<think>R\n</think>\n\n\nDone.");
  EXPECT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(parse("R <invoke name=\"ping\">" + envelope(call("ping", "")), options).content,
            "<think>R <invoke name=\"ping\">");
  EXPECT_EQ(parse("", options).content, "");
  options.starts_in_reasoning = false;
  EXPECT_EQ(parse("c", options).content, "c");
}

TEST(ReplyParser, ANameWithoutEndIsText) {
  const std::string tag = "<invoke name=\"" + std::string(300, 'x') + "\">";
  EXPECT_EQ(parse("</think>a" + tag + "b").content, "a" + tag + "b");
  EXPECT_EQ(parse("</think>" + envelope(tag + "b")).content, tag + "b");
  const std::string parameter_tag = "<parameter name=\"" + std::string(300, 'x') + "\">";
  EXPECT_EQ(
      arguments_of(envelope(call("write", parameter("path", parameter_tag)))),
      "{\"path\": \"" + std::string("<parameter name=\\\"") + std::string(300, 'x') + "\\\">\"}");
}

TEST(ReplyParser, BrokenUtf8IsReplaced) {
  const ParsedReply reply = parse_reply({{-1, "\xE5\x8C"}, {-1, "a\xFA</think>\xF0\x9F"}}, {}, {});
  EXPECT_EQ(reply.reasoning,
            "\xEF\xBF\xBD"
            "a\xEF\xBF\xBD");
  EXPECT_EQ(reply.content, "\xEF\xBF\xBD");
  // What a control token cuts off comes before it.
  const ParsedReply cut = parse_reply({{1000, "a\xE5"}, {2, "</think>"}, {1000, "b"}}, {}, {});
  EXPECT_EQ(cut.reasoning, "a\xEF\xBF\xBD");
  EXPECT_EQ(cut.content, "b");
}

// A million bytes of what is held back and looked at again: were any of it looked at once for each
// byte before it, the time limit would end this test.
TEST(ReplyParser, HostileTextIsReadInLinearTime) {
  std::string value;
  while (value.size() < 1000000) value += "</parameter>  </parameter><parameter name=x</invoke><";
  const Pieces pieces = as_tokens("</think>" + envelope(call("write", parameter("text", value))));
  EXPECT_EQ(parse_reply(pieces, with_tools(), test_tools()).calls.size(), 1u);
}

}  // namespace
}  // namespace m2
