#include "tests/server/test_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace m2::test {
namespace {

std::unique_ptr<TestText> load_text() {
  const std::string folder = M2_SOURCE_DIR "/models/pocket";
  if (!std::filesystem::exists(folder + "/tokenizer.json")) return nullptr;
  auto text = std::make_unique<TestText>();
  text->tokenizer = std::move(*Tokenizer::load(folder + "/tokenizer.json"));
  text->chat_template =
      std::move(*ChatTemplate::load("pocket", *read_chat_template(folder), *text->tokenizer));
  text->end_token = *text->tokenizer->token_id("[e~[");
  return text;
}

}  // namespace

const TestText* pocket_text() {
  static const std::unique_ptr<TestText> text = load_text();
  return text.get();
}

TestServer::TestServer(ServerOptions options, EngineOptions engine_options, int32_t max_sequences,
                       bool serve) {
  const TestText& text = *pocket_text();
  options.host = "127.0.0.1";
  options.port = 0;
  if (options.served_names.empty()) options.served_names = {"Org/Model", "short"};
  options.version = "1.2.3";
  server = std::move(*Server::create(std::move(options)));
  EXPECT_TRUE(server->start());
  EXPECT_TRUE(server->open(
      {text.tokenizer.get(), text.chat_template.get(), {text.end_token}, SamplingDefaults{}}));
  Capacity capacity{.num_blocks = 1024,
                    .block_tokens = 16,
                    .max_step_tokens = 512,
                    .max_sequences = max_sequences,
                    .max_sample_rows = 64,
                    .max_model_tokens = kContext,
                    .vocab_size = 1024};
  executor = std::make_unique<SlowExecutor>(capacity, *text.tokenizer, text.end_token);
  engine = std::make_unique<Engine>(engine_options, *executor, server->sink());
  engine_thread_ = std::thread([this] { (void)engine->run(); });
  if (serve) server->serve({engine.get()});
}

TestServer::~TestServer() {
  stop_engine();
  server->stop();
}

void TestServer::stop_engine() {
  engine->stop();
  if (engine_thread_.joinable()) engine_thread_.join();
}

RawReply TestServer::chat(const std::string& body) const {
  return ask(port(), post("/v1/chat/completions", body));
}

std::string ask_for(const std::string& reply, const std::string& members) {
  std::string content;
  json::append_quoted(content, "reply:" + reply);
  return fmt::format(R"({{"messages":[{{"role":"user","content":{}}}]{}{}}})", content,
                     members.empty() ? "" : ",", members);
}

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return value ? std::move(*value) : json::Value();
}

json::Value at(const json::Value& value, const std::string& path) {
  const json::Value* here = &value;
  for (size_t start = 0; here && start <= path.size();) {
    const size_t dot = std::min(path.find('.', start), path.size());
    const std::string key = path.substr(start, dot - start);
    start = dot + 1;
    if (here->is_array()) {
      const size_t index = std::stoul(key);
      here = index < here->as_array().size() ? &here->as_array()[index] : nullptr;
    } else {
      here = here->find(key);
    }
  }
  return here ? *here : json::Value();
}

std::string text_at(const json::Value& value, const std::string& path) {
  const json::Value found = at(value, path);
  return found.is_string() ? found.as_string() : json::dump(found);
}

}  // namespace m2::test
