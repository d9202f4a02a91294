#include <gtest/gtest.h>

#include "cli/api_client.h"
#include "cli/client_options.h"

namespace m2::cli {
namespace {

using Words = std::vector<std::string>;

TEST(SseReader, CutsAnywhere) {
  const std::string stream =
      ": ping\r\n\r\ndata: {\"a\": 1}\n\nevent: x\ndata:{\"b\": 2}\r\n\r\ndata: [DONE]\n\n";
  const Words expected{"{\"a\": 1}", "{\"b\": 2}", "[DONE]"};
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    Words seen;
    SseReader reader;
    for (size_t at = 0; at < stream.size(); at += piece) {
      ASSERT_TRUE(reader.push(std::string_view(stream).substr(at, piece),
                              [&](std::string_view data) { seen.emplace_back(data); }));
    }
    EXPECT_EQ(seen, expected) << piece;
  }
}

TEST(SseReader, RefusesALineWithoutEnd) {
  SseReader reader;
  const std::string block(1 << 20, 'x');
  bool accepted = true;
  for (int i = 0; i < 20 && accepted; ++i) accepted = reader.push(block, [](std::string_view) {});
  EXPECT_FALSE(accepted);
}

TEST(ClientOptions, Flags) {
  const Words words{"--url", "http://h:1/v1",   "-q",       "hello",     "--max_tokens",
                    "1k",    "--system-prompt", "be brief", "--api-key", "k"};
  const auto options = parse_client_options(chat_command(), words);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->url, "http://h:1/v1");
  EXPECT_EQ(options->quick, "hello");
  EXPECT_EQ(options->max_tokens, 1000);
  EXPECT_EQ(options->system_prompt, "be brief");
  EXPECT_FALSE(parse_client_options(complete_command(), words));  // has no system prompt
}

TEST(ApiClient, NobodyListens) {
  for (const char* url : {"http://127.0.0.1:1/v1", "http://127.0.0.1:1", "http://127.0.0.1:1/"}) {
    ApiClient client(url, "");
    const auto model = client.first_model();
    ASSERT_FALSE(model);
    EXPECT_NE(model.error().message.find("http://127.0.0.1:1/v1/models"), std::string::npos)
        << model.error().message;
  }
  ApiClient elsewhere("http://127.0.0.1:1/llm/", "");
  const auto model = elsewhere.first_model();
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().message.find("http://127.0.0.1:1/llm/models"), std::string::npos);
}

}  // namespace
}  // namespace m2::cli
