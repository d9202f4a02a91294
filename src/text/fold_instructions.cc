#include "text/fold_instructions.h"

#include <string>
#include <string_view>
#include <utility>

namespace m2 {

namespace {

constexpr std::string_view kBetween = "\n\n";
// Some clients put a line with a nonce at the head of the system text, which would spoil every
// prefix that could be shared.
constexpr std::string_view kBillingHeader = "x-anthropic-billing-header";

const std::string& role_of(const json::Value& message) { return message.find("role")->as_string(); }

bool is_instruction(const json::Value& message) {
  return role_of(message) == "system" || role_of(message) == "developer";
}

std::string without_billing_header(const std::string& text) {
  if (!text.starts_with(kBillingHeader)) return text;
  const size_t end = text.find('\n');
  return end == std::string::npos ? "" : text.substr(end + 1);
}

// The text of a system message; its parts are one text, as the template would show them.
std::string instruction_text(const json::Value& message) {
  const json::Value& content = *message.find("content");
  if (content.is_string()) return without_billing_header(content.as_string());
  std::string joined;
  for (const json::Value& part : content.as_array()) {
    const json::Value* text = part.is_string() ? &part : part.find("text");
    if (text != nullptr && text->is_string()) joined += without_billing_header(text->as_string());
  }
  return joined;
}

void append(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += kBetween;
  text += more;
}

// Where in a message's content the text goes.
enum class Side { kBefore, kAfter };

void put(json::Value& message, const std::string& text, Side side) {
  json::Value& content = *message.as_object().find("content");
  if (content.is_string()) {
    std::string joined = side == Side::kBefore ? text : content.as_string();
    append(joined, side == Side::kBefore ? content.as_string() : text);
    content = std::move(joined);
    return;
  }
  json::Array& parts = content.as_array();
  json::Object part;
  part.set("type", "text");
  if (parts.empty()) {
    part.set("text", text);
    parts.emplace_back(std::move(part));
  } else if (side == Side::kBefore) {
    part.set("text", text + std::string(kBetween));
    parts.insert(parts.begin(), std::move(part));
  } else {
    // A template shows each part of a tool's result apart, so it needs no gap.
    const bool is_tool = role_of(message) == "tool";
    part.set("text", is_tool ? text : std::string(kBetween) + text);
    parts.emplace_back(std::move(part));
  }
}

// A pending instruction finds its place before `next` (or at the end: nullptr).
void place(json::Array& out, std::string& pending, json::Value* next) {
  if (pending.empty()) return;
  const std::string text = std::exchange(pending, {});
  if (next != nullptr && role_of(*next) == "user") return put(*next, text, Side::kBefore);
  if (!out.empty() && (role_of(out.back()) == "user" || role_of(out.back()) == "tool")) {
    return put(out.back(), text, Side::kAfter);
  }
  json::Object turn;
  turn.set("role", "user");
  turn.set("content", text);
  out.emplace_back(std::move(turn));
}

// The instructions at the start become one system message.
size_t join_leading(json::Array& messages, json::Array& out) {
  size_t count = 0;
  std::string text;
  while (count < messages.size() && is_instruction(messages[count])) {
    append(text, instruction_text(messages[count++]));
  }
  if (count == 0) return 0;
  // The first one's other keys (a date, a place) are the template's business.
  json::Value system = std::move(messages[0]);
  system.as_object().set("role", "system");
  system.as_object().set("content", std::move(text));
  out.push_back(std::move(system));
  return count;
}

}  // namespace

json::Array fold_instructions(json::Array messages) {
  json::Array out;
  out.reserve(messages.size());
  std::string pending;
  for (size_t i = join_leading(messages, out); i < messages.size(); ++i) {
    json::Value& message = messages[i];
    if (is_instruction(message)) {
      append(pending, instruction_text(message));
      continue;
    }
    // Results follow their call at once; what waits goes behind the last of them.
    if (role_of(message) != "tool") place(out, pending, &message);
    out.push_back(std::move(message));
  }
  place(out, pending, nullptr);
  return out;
}

}  // namespace m2
