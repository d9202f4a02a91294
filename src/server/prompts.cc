#include "server/prompts.h"

#include <algorithm>
#include <utility>

namespace m2 {
namespace {

// Bytes of all strings in a value, keys aside: no more than what a template makes of it.
size_t text_bytes(const json::Value& value) {
  size_t bytes = 0;
  if (value.is_string()) return value.as_string().size();
  if (value.is_array()) {
    for (const json::Value& element : value.as_array()) bytes += text_bytes(element);
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.as_object()) bytes += text_bytes(member);
  }
  return bytes;
}

// Bytes of the messages' contents: what every template writes out.
size_t content_bytes(const json::Value& messages) {
  size_t bytes = 0;
  for (const json::Value& message : messages.as_array()) {
    if (const json::Value* content = message.find("content")) bytes += text_bytes(*content);
  }
  return bytes;
}

}  // namespace

Prompts::Prompts(const ServerOptions& options, const ServerModel& model)
    : options_(options),
      model_(model),
      think_begin_(model.tokenizer->token_id("<think>").value_or(-1)),
      think_end_(model.tokenizer->token_id("</think>").value_or(-1)),
      role_begin_(model.tokenizer->token_id("]~b]").value_or(-1)) {}

Status Prompts::check_bytes(size_t bytes, const char* field) const {
  const int32_t context_tokens = context_tokens_;
  const size_t most = static_cast<size_t>(context_tokens) *
                      static_cast<size_t>(std::max(1, model_.tokenizer->max_token_bytes()));
  if (bytes <= most) return {};
  return invalid(field,
                 "This model's maximum context length is {} tokens. However, {} is {} bytes long, "
                 "which is more than so many tokens can hold. Please reduce its length.",
                 context_tokens, field, bytes);
}

Result<EncodedChat> Prompts::chat(ChatRequest& request) const {
  if (!model_.chat_template) {
    return fail(ErrorKind::kUnsupported, "messages",
                "the model has no chat template; give one with --chat-template");
  }
  M2_TRY(check_bytes(content_bytes(request.messages), "messages"));
  ChatInput input;
  input.messages = std::move(request.messages);
  const bool hide_tools = request.suppress_tools && options_.exclude_tools_when_none;
  if (!hide_tools) input.tools = request.tools;
  input.add_generation_prompt = request.add_generation_prompt;
  input.continue_final_message = request.continue_final_message;
  input.kwargs = options_.template_kwargs;
  for (const auto& [key, value] : request.template_kwargs) input.kwargs.set(key, value);
  input.parse_special_in_text = options_.parse_special_in_text;
  M2_ASSIGN(RenderedChat rendered, model_.chat_template->render(input));

  EncodedChat out{std::move(rendered.text), std::move(rendered.tokens), false};
  // Only the turn that the reply continues says where it starts: never the history.
  for (auto token = out.tokens.rbegin(); token != out.tokens.rend(); ++token) {
    if (*token == think_begin_) out.in_reasoning = true;
    if (*token == think_begin_ || *token == think_end_ || *token == role_begin_) break;
  }
  return out;
}

Result<std::vector<TokenId>> Prompts::text(const std::string& text) const {
  M2_TRY(check_bytes(text.size(), "prompt"));
  return model_.tokenizer->encode(
      text, options_.parse_special_in_text ? AddedTokens::kParse : AddedTokens::kAsText);
}

Result<int32_t> Prompts::fit(std::vector<TokenId>& prompt, const GenerationOptions& options,
                             int32_t fallback, const char* field) const {
  const int32_t context_tokens = context_tokens_;
  if (options.truncate_prompt_tokens != 0) {
    const size_t keep = options.truncate_prompt_tokens > 0
                            ? static_cast<size_t>(options.truncate_prompt_tokens)
                            : static_cast<size_t>(context_tokens - 1);
    if (prompt.size() > keep) {
      prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(keep));
    }
  }
  if (prompt.empty()) return invalid(field, "the prompt is empty");
  const int64_t size = static_cast<int64_t>(prompt.size()), room = context_tokens - size;
  const int64_t wanted = options.max_tokens.value_or(fallback);
  // Nothing to be generated: the text is scored, and may fill the context.
  const int64_t least = options.max_tokens == 0 ? 0 : 1;
  if (room < least) {
    return invalid(field,
                   "This model's maximum context length is {} tokens. However, your request has {} "
                   "input tokens, which leaves no room for a reply. Please reduce its length.",
                   context_tokens, size);
  }
  if (options.max_tokens && wanted > room) {
    return invalid(options.max_tokens_field,
                   "This model's maximum context length is {} tokens. However, you requested {} "
                   "tokens ({} in the prompt, {} in the completion). Please reduce the length of "
                   "the prompt or {}.",
                   context_tokens, size + wanted, size, wanted, options.max_tokens_field);
  }
  const bool open = !options.max_tokens && fallback == 0;
  const auto most = static_cast<int32_t>(open ? room : std::min(wanted, room));
  if (options.stop.min_tokens > std::max(1, most)) {
    return invalid("min_tokens", "min_tokens must be at most {} ({}), got {}",
                   options.max_tokens_field, most, options.stop.min_tokens);
  }
  return most;
}

Result<std::vector<std::vector<TokenId>>> Prompts::bad_words(
    const std::vector<std::string>& words) const {
  std::vector<std::vector<TokenId>> sequences;
  for (const std::string& word : words) {
    const size_t start = word.find_first_not_of(' ');
    const std::string bare = start == std::string::npos ? word : word.substr(start);
    M2_ASSIGN(std::vector<TokenId> alone, model_.tokenizer->encode(bare, AddedTokens::kAsText));
    M2_ASSIGN(std::vector<TokenId> spaced,
              model_.tokenizer->encode(" " + bare, AddedTokens::kAsText));
    if (!alone.empty()) sequences.push_back(alone);
    if (!spaced.empty() && spaced != alone) sequences.push_back(std::move(spaced));
  }
  return sequences;
}

}  // namespace m2
