#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "text/chat_template.h"
#include "text/fold_instructions.h"

namespace m2 {

namespace {

// JSON elements in the arguments strings of one request, together.
constexpr size_t kMaxArgumentElements = 1u << 20;

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

// Names a message in errors.
std::string place(size_t i) { return fmt::format("messages[{}]", i); }

Status check_role(const json::Value& message, size_t i) {
  if (!message.is_object()) {
    return invalid("messages", "{} must be an object, got {}", place(i), json::type_name(message));
  }
  const json::Value* role = message.find("role");
  if (role == nullptr || !role->is_string()) {
    return invalid("messages", "{}.role must be a string, got {}", place(i),
                   role == nullptr ? "nothing" : json::type_name(*role));
  }
  for (const std::string_view known : kRoles) {
    if (role->as_string() == known) return {};
  }
  // Quoted as JSON, shortened: it is the client's text.
  std::string shown;
  json::append_quoted(shown, std::string_view(role->as_string()).substr(0, 40));
  return invalid("messages", "{}.role must be one of {}, got {}", place(i), fmt::join(kRoles, ", "),
                 shown);
}

const std::string* find_string(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  return member != nullptr && member->is_string() ? &member->as_string() : nullptr;
}

// Thinking may stand among an assistant's parts, as other APIs put it. It moves to `reasoning`.
bool take_thinking(const json::Value& part, std::string& reasoning) {
  const std::string* type = find_string(part, "type");
  if (type == nullptr) return false;
  if (*type == "redacted_thinking") return true;  // nothing that a model could read
  if (*type != "thinking" && *type != "reasoning") return false;
  for (const char* key : {"thinking", "text", "reasoning"}) {
    if (const std::string* text = find_string(part, key)) {
      reasoning += *text;
      break;
    }
  }
  return true;
}

// A text part in one of its spellings becomes {"type": "text", "text": …}.
Status normalize_part(json::Value& part, const std::string& role, size_t i, size_t j) {
  if (part.is_string()) return {};
  const std::string* found = find_string(part, "type");
  const std::string type = found == nullptr ? "" : *found;
  if (type == "input_text" || type == "output_text") part.as_object().set("type", "text");
  if (type == "refusal" && find_string(part, "refusal") != nullptr) {
    std::string text = *find_string(part, "refusal");
    part.as_object().set("type", "text");
    part.as_object().set("text", std::move(text));
  }
  const bool is_text = find_string(part, "text") != nullptr;
  if (part.is_object() && find_string(part, "type") != nullptr &&
      *find_string(part, "type") == "text") {
    // A tool's result may carry "output" instead; the template shows it.
    if (is_text || (role == "tool" && part.find("output") != nullptr)) return {};
    return invalid("messages", "{}.content[{}].text must be a string", place(i), j);
  }
  if (role == "tool" && part.is_object() && (type.empty() || part.find("output") != nullptr)) {
    return {};  // an object as a result: the template writes it out
  }
  if (!part.is_object() || type.empty()) {
    return invalid("messages", "{}.content[{}] must be a part with a \"type\", got {}", place(i), j,
                   json::type_name(part));
  }
  std::string shown;
  json::append_quoted(shown, std::string_view(type).substr(0, 40));
  return invalid("messages",
                 "{}.content[{}] has type {}; this is a text-only model, which takes parts of type "
                 "\"text\"",
                 place(i), j, shown);
}

Status normalize_content(json::Object& message, size_t i, std::string& reasoning) {
  const std::string role = message.find("role")->as_string();
  json::Value* content = message.find("content");
  if (content == nullptr || content->is_null()) {
    // An assistant that called tools and a tool that had nothing to say send none. Anybody else has
    // most likely misspelled the key.
    if (role != "assistant" && role != "tool") {
      return invalid("messages", "{}.content is missing: a {} message needs a string or parts",
                     place(i), role);
    }
    message.set("content", "");
    return {};
  }
  if (content->is_string()) return {};
  if (!content->is_array()) {
    return invalid("messages", "{}.content must be a string, an array of parts or null, got {}",
                   place(i), json::type_name(*content));
  }
  json::Array parts;
  size_t j = 0;
  for (json::Value& part : content->as_array()) {
    if (role != "assistant" || !take_thinking(part, reasoning)) {
      M2_TRY(normalize_part(part, role, i, j));
      parts.push_back(std::move(part));
    }
    ++j;
  }
  *content = std::move(parts);
  return {};
}

// The reasoning of an assistant turn in any of its spellings; "" when there is none.
std::string find_reasoning(const json::Object& message) {
  for (const char* key : {"reasoning_content", "reasoning"}) {
    const json::Value* value = message.find(key);
    if (value != nullptr && value->is_string() && !value->as_string().empty()) {
      return value->as_string();
    }
  }
  std::string joined;
  const json::Value* details = message.find("reasoning_details");
  if (details == nullptr || !details->is_array()) return joined;
  for (const json::Value& detail : details->as_array()) {
    for (const char* key : {"text", "summary"}) {
      if (const std::string* text = find_string(detail, key)) {
        joined += *text;
        break;
      }
    }
  }
  return joined;
}

// Elements and members of a value, at any depth.
size_t count_elements(const json::Value& value) {
  size_t count = 0;
  std::vector<const json::Value*> open = {&value};
  while (!open.empty()) {
    const json::Value* next = open.back();
    open.pop_back();
    ++count;
    if (next->is_array()) {
      for (const json::Value& element : next->as_array()) open.push_back(&element);
    } else if (next->is_object()) {
      for (const auto& [key, member] : next->as_object()) open.push_back(&member);
    }
  }
  return count;
}

// The arguments of one call become an object, as the template walks them. `elements_left` is what
// the arguments of the whole request may still hold: JSON in strings is bounded like its own.
Status normalize_arguments(json::Value& arguments, const std::string& where,
                           size_t& elements_left) {
  if (arguments.is_null()) arguments = json::Object();
  if (arguments.is_string()) {
    if (arguments.as_string().find_first_not_of(" \t\r\n") == std::string::npos) {
      arguments = json::Object();
    } else {
      const json::Limits limits{.max_elements = elements_left};
      auto parsed = json::parse(arguments.as_string(), limits, /*accept_nan=*/true);
      if (!parsed) return invalid("messages", "{}: {}", where, parsed.error().message);
      arguments = std::move(*parsed);
      elements_left -= std::min(elements_left, count_elements(arguments));
    }
  }
  if (arguments.is_object()) return {};
  return invalid("messages", "{} must be a JSON object, got {}", where, json::type_name(arguments));
}

Status normalize_calls(json::Object& message, size_t i, size_t& elements_left) {
  json::Value* calls = message.find("tool_calls");
  if (calls == nullptr) return {};
  if (calls->is_null() || (calls->is_array() && calls->as_array().empty())) {
    message.erase("tool_calls");
    return {};
  }
  if (!calls->is_array()) {
    return invalid("messages", "{}.tool_calls must be an array, got {}", place(i),
                   json::type_name(*calls));
  }
  size_t j = 0;
  for (json::Value& call : calls->as_array()) {
    std::string where = fmt::format("{}.tool_calls[{}]", place(i), j++);
    // Either {"function": {"name", "arguments"}} or flat {"name", "arguments"}.
    json::Value* target = &call;
    if (call.is_object() && call.find("function") != nullptr) {
      target = call.as_object().find("function");
      where += ".function";
    }
    if (!target->is_object() || find_string(*target, "name") == nullptr) {
      return invalid("messages", "{}.name must be a string", where);
    }
    json::Value* arguments = target->as_object().find("arguments");
    if (arguments == nullptr) arguments = &target->as_object().set("arguments", nullptr);
    M2_TRY(normalize_arguments(*arguments, where + ".arguments", elements_left));
  }
  return {};
}

Status normalize_assistant(json::Object& message, size_t i, std::string thinking,
                           size_t& elements_left) {
  std::string reasoning = find_reasoning(message);
  if (reasoning.empty()) reasoning = std::move(thinking);
  message.erase("reasoning");
  message.erase("reasoning_details");
  // Without any, the key goes too: the template then looks for <think> in the content.
  if (reasoning.empty()) {
    message.erase("reasoning_content");
  } else {
    message.set("reasoning_content", std::move(reasoning));
  }
  return normalize_calls(message, i, elements_left);
}

}  // namespace

Result<json::Value> normalize_messages(json::Value messages) {
  if (!messages.is_array()) {
    return invalid("messages", "messages must be an array, got {}", json::type_name(messages));
  }
  size_t i = 0;
  size_t elements_left = kMaxArgumentElements;
  for (json::Value& message : messages.as_array()) {
    M2_TRY(check_role(message, i));
    json::Object& object = message.as_object();
    std::string thinking;
    M2_TRY(normalize_content(object, i, thinking));
    if (object.find("role")->as_string() == "assistant") {
      M2_TRY(normalize_assistant(object, i, std::move(thinking), elements_left));
    }
    ++i;
  }
  return json::Value(fold_instructions(std::move(messages.as_array())));
}

}  // namespace m2
