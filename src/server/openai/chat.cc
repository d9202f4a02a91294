#include "server/openai/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/chat_template.h"

namespace m2 {
namespace {

// What a template must not be told by a client: the variables that this server itself sets.
constexpr std::string_view kOwnVariables[] = {"messages",
                                              "tools",
                                              "add_generation_prompt",
                                              "continue_final_message",
                                              "tokenize",
                                              "chat_template",
                                              "return_dict",
                                              "raise_exception",
                                              "strftime_now",
                                              "bos_token",
                                              "eos_token",
                                              "pad_token",
                                              "unk_token",
                                              "tokenizer",
                                              "conversation"};

// A function as the template wants it, also where it comes flat (as the Responses API writes it).
Status check_tool(json::Value& tool, size_t index) {
  const std::string where = fmt::format("tools[{}]", index);
  if (!tool.is_object())
    return invalid("tools", "{} must be an object, got {}", where, shown(tool));
  if (!tool.find("function")) {
    json::Object function;
    for (auto& [key, value] : tool.as_object()) {
      if (key != "type") function.set(key, std::move(value));
    }
    json::Object nested;
    nested.set("type", "function");
    nested.set("function", std::move(function));
    tool = std::move(nested);
  }
  const json::Value& function = *tool.find("function");
  const json::Value* name = function.find("name");
  if (!name || !name->is_string() || name->as_string().empty()) {
    return invalid("tools", "{}.function.name must be a string that is not empty", where);
  }
  const json::Value* parameters = function.find("parameters");
  if (parameters && !parameters->is_null() && !parameters->is_object()) {
    return invalid("tools", "{}.function.parameters must be an object, got {}", where,
                   shown(*parameters));
  }
  return {};
}

// Tools of other types (web search and the like run on other people's servers) are passed over, as
// agents send them to everybody.
Status read_tools(JsonFields& fields, json::Object& body, const ServerLimits& limits,
                  json::Value& out) {
  if (!fields.array("tools", static_cast<size_t>(limits.max_tools))) return fields.status();
  json::Array functions;
  size_t index = 0;
  for (json::Value& tool : body.find("tools")->as_array()) {
    const json::Value* type = tool.find("type");
    if (!type || *type == json::Value("function")) {
      M2_TRY(check_tool(tool, index));
      functions.push_back(std::move(tool));
    }
    ++index;
  }
  if (!functions.empty()) out = std::move(functions);
  return {};
}

Status read_tool_choice(const JsonFields& fields, ChatRequest& out) {
  const json::Value* choice = fields.find("tool_choice");
  if (!choice || *choice == json::Value("auto")) return {};
  if (*choice == json::Value("none")) {
    out.suppress_tools = true;
    return {};
  }
  if (*choice == json::Value("required") || choice->is_object()) {
    return fail(ErrorKind::kUnsupported, "tool_choice",
                "tool_choice \"required\" or of a named function is not supported, only \"auto\" "
                "and \"none\"");
  }
  return invalid("tool_choice", "tool_choice must be \"auto\" or \"none\", got {}", shown(*choice));
}

Status read_template_kwargs(JsonFields& fields, const ServerLimits& limits, json::Object& out) {
  const json::Object* kwargs = fields.object("chat_template_kwargs");
  if (!kwargs) return fields.status();
  if (kwargs->size() > limits.max_template_kwargs) {
    return invalid("chat_template_kwargs",
                   "chat_template_kwargs has {} entries, at most {} are taken", kwargs->size(),
                   limits.max_template_kwargs);
  }
  for (const auto& [key, value] : *kwargs) {
    if (std::find(std::begin(kOwnVariables), std::end(kOwnVariables), key) !=
        std::end(kOwnVariables)) {
      return invalid("chat_template_kwargs", "chat_template_kwargs must not set {}", key);
    }
  }
  out = *kwargs;
  return {};
}

// The model always thinks; whoever does not want to see it gets the answer alone. All the ways in
// which clients say so: vLLM's, MiniMax's, Anthropic's, OpenAI's.
void read_reasoning(JsonFields& fields, ChatRequest& out) {
  fields.boolean("include_reasoning", out.include_reasoning);
  fields.boolean("reasoning_split", out.split_reasoning);
  bool thinking = true;
  fields.boolean("enable_thinking", thinking);
  for (const char* key : {"enable_thinking", "thinking"}) {
    const json::Value* value = out.template_kwargs.find(key);
    if (value && value->is_bool()) thinking = thinking && value->as_bool();
  }
  if (const json::Value* value = fields.find("thinking")) {
    const json::Value* type = value->find("type");
    if (value->is_bool()) thinking = thinking && value->as_bool();
    if (type && *type == json::Value("disabled")) thinking = false;
  }
  if (const json::Value* effort = fields.find("reasoning_effort")) {
    if (!effort->is_string()) {
      fields.refuse("reasoning_effort", "reasoning_effort must be a string, got {}",
                    shown(*effort));
    } else if (effort->as_string() == "none") {
      thinking = false;
    }
  }
  out.include_reasoning = out.include_reasoning && thinking;
}

// The text of the last message, where the reply goes on from it.
std::string last_text(const json::Value& messages) {
  const json::Value* content = messages.as_array().back().find("content");
  if (content->is_string()) return content->as_string();
  std::string text;
  for (const json::Value& part : content->as_array()) {
    const json::Value* own = part.is_string() ? &part : part.find("text");
    if (own && own->is_string()) text += own->as_string();
  }
  return text;
}

Status read_lengths(JsonFields& fields, const RequestRules& rules, OpenAiChat& out) {
  GenerationOptions& options = out.request.options;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  fields.integer("max_tokens", options.max_tokens, 1, kMost);
  if (fields.find("max_completion_tokens")) options.max_tokens_field = "max_completion_tokens";
  fields.integer("max_completion_tokens", options.max_tokens, 1, kMost);
  read_logprobs(fields, "prompt_logprobs", rules, options.prompt_logprobs);
  if (options.prompt_logprobs > 0 && out.reply.stream) {
    fields.refuse("prompt_logprobs", "prompt_logprobs must be 0 with stream: true, got {}",
                  options.prompt_logprobs);
  }
  fields.boolean("logprobs", out.reply.logprobs);
  int32_t top = -1;
  read_logprobs(fields, "top_logprobs", rules, top);
  if (top > 0 && !out.reply.logprobs) {
    fields.refuse("top_logprobs", "top_logprobs needs logprobs: true");
  }
  if (out.reply.logprobs) options.sampling.num_logprobs = std::max(0, top);
  return fields.status();
}

}  // namespace

Status read_conversation(json::Object& body, const RequestRules& rules, ChatRequest& out) {
  const ServerLimits& limits = rules.options.limits;
  JsonFields fields(body);
  const json::Array* messages = fields.array("messages", static_cast<size_t>(limits.max_messages));
  M2_TRY(fields.status());
  if (!messages || messages->empty()) {
    return invalid("messages", "messages must be an array of at least one message");
  }
  M2_TRY(read_tools(fields, body, limits, out.tools));
  M2_TRY(read_tool_choice(fields, out));
  M2_TRY(read_template_kwargs(fields, limits, out.template_kwargs));
  fields.boolean("parallel_tool_calls", out.parallel_tool_calls);
  fields.boolean("add_generation_prompt", out.add_generation_prompt);
  fields.boolean("continue_final_message", out.continue_final_message);
  if (out.continue_final_message && out.add_generation_prompt &&
      fields.find("add_generation_prompt")) {
    return invalid("continue_final_message",
                   "continue_final_message and add_generation_prompt cannot both be true");
  }
  if (out.continue_final_message) out.add_generation_prompt = false;
  read_reasoning(fields, out);
  M2_TRY(fields.status());
  // Their form is checked where it is made: what passes is what the template is given.
  M2_ASSIGN(out.messages, normalize_messages(std::move(*body.find("messages"))));
  return {};
}

Result<OpenAiChat> parse_openai_chat(json::Value body, const RequestRules& rules) {
  json::Object& object = body.as_object();
  OpenAiChat out;
  JsonFields fields(object);
  M2_ASSIGN(out.reply.model, read_model(fields, rules.options));
  M2_TRY(refuse_unsupported(object));
  M2_TRY(read_conversation(object, rules, out.request));
  read_generation(fields, rules, out.request.options);
  read_reply_settings(fields, rules.options, out.reply);
  M2_TRY(read_lengths(fields, rules, out));

  out.role = rules.options.response_role;
  if (!out.request.add_generation_prompt) {
    const json::Value* role = out.request.messages.as_array().back().find("role");
    out.role = role->as_string();
    bool echo = false;
    fields.boolean("echo", echo);
    M2_TRY(fields.status());
    if (echo) out.echoed_text = last_text(out.request.messages);
  }
  return out;
}

}  // namespace m2
