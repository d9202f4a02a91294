// `m2 complete`: a running server continues each line of text.
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

Status complete(ApiClient& client, const ClientOptions& options, const std::string& prompt) {
  json::Object body;
  body.set("model", options.model);
  body.set("prompt", prompt);
  body.set("stream", true);
  json::Object stream_options;
  stream_options.set("include_usage", true);
  body.set("stream_options", std::move(stream_options));
  if (options.max_tokens > 0) body.set("max_tokens", options.max_tokens);

  ReplyPrinter printer;
  ReplyStats stats;
  Status status = client.stream("/completions", body, [&](const json::Value& event) {
    stats.event(event);
    const json::Value* choices = event.find("choices");
    if (!choices || !choices->is_array() || choices->as_array().empty()) return;
    const json::Value* text = choices->as_array()[0].find("text");
    if (text && text->is_string()) printer.content(text->as_string());
  });
  printer.end();
  if (status && options.stats) fmt::print(stderr, "{}\n", stats.line());
  return status;
}

}  // namespace

int run_complete(Arguments arguments) {
  auto options = parse_client_options(complete_command(), arguments);
  if (!options) {
    fmt::print(stderr, "m2 complete: {}\n", options.error().message);
    return kExitUsage;
  }
  if (options->help) {
    return print_help(complete_command(), options->help_topic);
  }
  ApiClient client(options->url, options->api_key);
  if (options->model.empty()) {
    auto model = client.first_model();
    if (!model) {
      fmt::print(stderr, "m2 complete: {}\n", model.error().message);
      return kExitFailure;
    }
    options->model = std::move(*model);
  }
  int exit_status = kExitOk;
  const auto one = [&](const std::string& prompt) {
    const Status status = complete(client, *options, prompt);
    if (status) return;
    fmt::print(stderr, "m2 complete: {}\n", status.error().message);
    exit_status = kExitFailure;
  };
  if (!options->quick.empty()) {
    one(options->quick);
    return exit_status;
  }
  while (const auto line = read_line("text: ")) {
    if (!line->empty()) one(*line);
  }
  return exit_status;
}

}  // namespace m2::cli
