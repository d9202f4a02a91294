// `m2 chat`: a conversation with a running server, in the terminal.
#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "cli/api_client.h"
#include "cli/client_options.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/terminal.h"

namespace m2::cli {
namespace {

// One of the texts of a streamed delta; "" when it is absent or null.
std::string_view delta_text(const json::Value& event, std::string_view key) {
  const json::Value* choices = event.find("choices");
  if (!choices || !choices->is_array() || choices->as_array().empty()) return {};
  const json::Value* delta = choices->as_array()[0].find("delta");
  const json::Value* text = delta ? delta->find(key) : nullptr;
  return text && text->is_string() ? std::string_view(text->as_string()) : std::string_view();
}

json::Value message(const char* role, std::string text) {
  json::Object out;
  out.set("role", role);
  out.set("content", std::move(text));
  return out;
}

class Conversation {
 public:
  Conversation(ApiClient& client, const ClientOptions& options)
      : client_(client), options_(options) {
    if (!options.system_prompt.empty()) {
      messages_.push_back(message("system", options.system_prompt));
    }
  }

  // Sends `text`, prints the reply as it comes and keeps both for the next turn.
  Status turn(std::string text) {
    messages_.push_back(message("user", std::move(text)));
    ReplyPrinter printer;
    ReplyStats stats;
    std::string content, reasoning;
    Status status = client_.stream("/chat/completions", body(), [&](const auto& event) {
      stats.event(event);
      const std::string_view thought = delta_text(event, "reasoning");
      const std::string_view said = delta_text(event, "content");
      printer.reasoning(thought);
      printer.content(said);
      reasoning += thought;
      content += said;
    });
    printer.end();
    if (!status) {
      messages_.pop_back();  // a failed turn is not part of the conversation
      return status;
    }
    // The reasoning goes back too: the family's template decides which of it the model sees again.
    json::Value reply = message("assistant", std::move(content));
    if (!reasoning.empty()) reply.as_object().set("reasoning", std::move(reasoning));
    messages_.push_back(std::move(reply));
    if (options_.stats) fmt::print(stderr, "{}\n", stats.line());
    return {};
  }

 private:
  json::Value body() const {
    json::Object out;
    out.set("model", options_.model);
    out.set("messages", messages_);
    out.set("stream", true);
    json::Object stream_options;
    stream_options.set("include_usage", true);
    out.set("stream_options", std::move(stream_options));
    if (options_.max_tokens > 0) out.set("max_completion_tokens", options_.max_tokens);
    return out;
  }

  ApiClient& client_;
  const ClientOptions& options_;
  json::Array messages_;
};

}  // namespace

int run_chat(Arguments arguments) {
  auto options = parse_client_options(chat_command(), arguments);
  if (!options) {
    fmt::print(stderr, "m2 chat: {}\n", options.error().message);
    return kExitUsage;
  }
  if (options->help) {
    return print_help(chat_command(), options->help_topic);
  }
  ApiClient client(options->url, options->api_key);
  if (options->model.empty()) {
    auto model = client.first_model();
    if (!model) {
      fmt::print(stderr, "m2 chat: {}\n", model.error().message);
      return kExitFailure;
    }
    options->model = std::move(*model);
  }
  Conversation conversation(client, *options);
  int exit_status = kExitOk;
  const auto turn = [&](std::string text) {
    const Status status = conversation.turn(std::move(text));
    if (status) return;
    fmt::print(stderr, "m2 chat: {}\n", status.error().message);
    exit_status = kExitFailure;
  };
  if (!options->quick.empty()) {
    turn(options->quick);
    return exit_status;
  }
  while (auto line = read_line("> ")) {
    if (!line->empty()) turn(std::move(*line));
  }
  return exit_status;
}

}  // namespace m2::cli
