#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace m2::cli {
namespace {

void write(FILE* to, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

}  // namespace

ReplyPrinter::ReplyPrinter()
    : terminal_(isatty(STDOUT_FILENO) != 0),
      dim_(terminal_ && std::getenv("NO_COLOR") == nullptr) {}

void ReplyPrinter::reasoning(std::string_view text) {
  if (text.empty()) return;
  if (dim_ && !in_reasoning_) write(stdout, "\x1b[2m");
  in_reasoning_ = true;
  write(terminal_ ? stdout : stderr, text);
  last_ = text.back();
}

void ReplyPrinter::content(std::string_view text) {
  if (text.empty()) return;
  if (in_reasoning_) {
    if (last_ != '\n') write(terminal_ ? stdout : stderr, "\n");
    if (dim_) write(stdout, "\x1b[0m");
    in_reasoning_ = false;
  }
  write(stdout, text);
  last_ = text.back();
}

void ReplyPrinter::end() {
  if (in_reasoning_ && dim_) write(stdout, "\x1b[0m");
  in_reasoning_ = false;
  if (last_ != '\n') write(stdout, "\n");
  last_ = '\n';
}

void ReplyStats::event(const json::Value& event) {
  if (!first_) first_ = Clock::now();
  const json::Value* usage = event.find("usage");
  if (!usage) return;
  for (const auto& [name, out] : {std::pair{"prompt_tokens", &prompt_tokens_},
                                  std::pair{"completion_tokens", &completion_tokens_}}) {
    const json::Value* count = usage->find(name);
    if (count && count->is_int()) *out = count->as_int();
  }
}

std::string ReplyStats::line() const {
  const auto now = Clock::now();
  const std::chrono::duration<double> to_first = first_.value_or(now) - start_;
  const std::chrono::duration<double> writing = now - first_.value_or(now);
  const double rate = writing.count() > 0 && completion_tokens_ > 1
                          ? static_cast<double>(completion_tokens_ - 1) / writing.count()
                          : 0;
  return fmt::format("[{} prompt tokens, {} reply tokens, first after {:.3f} s, {:.1f} tokens/s]",
                     prompt_tokens_, completion_tokens_, to_first.count(), rate);
}

std::optional<std::string> read_line(const char* prompt) {
  if (isatty(STDIN_FILENO)) write(stdout, prompt);
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

}  // namespace m2::cli
