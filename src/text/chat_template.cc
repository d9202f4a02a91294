#include "text/chat_template.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "text/control_marks.h"
#include "text/conversation_tree.h"
#include "text/ffi/ffi.h"
#include "text/value_tree.h"

namespace m2 {

namespace {

using TemplateHandle = std::unique_ptr<M2Template, ffi::TemplateDeleter>;

// What every template of this family takes, with no word that is a control token. Rendered at load
// with and without marks, it shows whether the template spells control tokens in one piece.
constexpr std::string_view kSample = R"([
  {"role": "system", "content": "Be brief."},
  {"role": "user", "content": "How is the weather?"},
  {"role": "assistant", "content": "", "reasoning_content": "I need a tool.", "tool_calls": [
    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": {"days": 1}}}]},
  {"role": "tool", "tool_call_id": "a", "content": "sunny"}])";
constexpr std::string_view kSampleTools = R"([{"type": "function", "function": {
    "name": "weather", "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}}}}])";

Result<TemplateHandle> compile(const std::string& name, std::string_view source,
                               const TemplateLimits& limits, uint32_t first_mark) {
  const M2TemplateOptions options{limits.fuel, limits.max_output_bytes, first_mark};
  M2Template* handle = nullptr;
  ffi::Buffer error;
  if (m2_template_load(ffi::slice(name), ffi::slice(source), &options, &handle, error.get()) !=
      M2_OK) {
    return invalid("chat_template", "chat template: {}", error.view());
  }
  return TemplateHandle(handle);
}

Result<std::string> run(const M2Template* handle, const ValueTree& variables) {
  ffi::Buffer text, error;
  switch (m2_template_render(handle, ffi::slice(variables.bytes()), text.get(), error.get())) {
    case M2_OK:
      return std::string(text.view());
    case M2_INVALID:
      return invalid("messages", "chat template: {}", error.view());
    case M2_TOO_LARGE:
      return fail(ErrorKind::kTooLarge, "messages", "chat template: {}", error.view());
    default:
      return fail(ErrorKind::kInternal, "messages", "chat template: {}", error.view());
  }
}

// Drops what the template wrote after the text of the final message.
Result<std::string> cut_after_final_message(std::string rendered) {
  const size_t cut = rendered.rfind(ControlMarks::kCut);
  if (cut == std::string::npos) {
    return invalid("continue_final_message",
                   "continue_final_message: the chat template does not show the final message");
  }
  const bool keeps_spaces = rendered.compare(cut, kContinued.size(), kContinued) == 0;
  rendered.resize(cut);
  // The template trims: then the text that it was given without a mark would have been trimmed too.
  if (!keeps_spaces) rendered.resize(rendered.find_last_not_of(" \t\r\n\f\v") + 1);
  return rendered;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  const Tokenizer& tokenizer;
  ControlMarks marks;
  TemplateHandle marked;  // control tokens in the source are marks
  TemplateHandle raw;     // the source as it is, for parse_special_in_text
  // The template builds control tokens from pieces, so that marks would miss them.
  bool hides_control_tokens = false;

  // The rendered text, with marks unless parse_special_in_text.
  Result<std::string> render(const ChatInput& input) const;
  bool finds_all_control_tokens() const;
};

// Everything that a client sends goes in through `variables`, escaped, with the exceptions that
// add_messages makes.
Result<std::string> ChatTemplate::Impl::render(const ChatInput& input) const {
  const ControlMarks* const escaping = input.parse_special_in_text ? nullptr : &marks;
  ValueTree variables(escaping);
  // A key that comes twice takes its last value. Ours come last: a client's variable of the same
  // name cannot override them.
  variables.begin_map(input.kwargs.size() + 3);
  for (const auto& [key, value] : input.kwargs) {
    variables.add_key(key);
    variables.add(value);
  }
  variables.add_key("messages");
  M2_TRY(add_messages(variables, input.messages, escaping, input.continue_final_message));
  variables.add_key("tools");
  variables.add(input.tools);
  variables.add_key("add_generation_prompt");
  variables.add(input.add_generation_prompt && !input.continue_final_message);
  M2_ASSIGN(std::string text,
            run(input.parse_special_in_text ? raw.get() : marked.get(), variables));
  if (input.continue_final_message) return cut_after_final_message(std::move(text));
  return text;
}

// The sample spells no control token, so both ways must give the same ids.
bool ChatTemplate::Impl::finds_all_control_tokens() const {
  ChatInput input;
  input.messages = *json::parse(kSample);
  input.tools = *json::parse(kSampleTools);
  const auto with_marks = render(input);
  input.parse_special_in_text = true;
  const auto without = render(input);
  // A template that cannot render the sample shows nothing either way.
  if (!with_marks || !without) return true;
  const auto marked_ids = marks.encode(*with_marks);
  const auto raw_ids = tokenizer.encode(*without, AddedTokens::kParse);
  return marked_ids && raw_ids && *marked_ids == *raw_ids;
}

ChatTemplate::ChatTemplate() = default;
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::load(std::string name, std::string source,
                                                         const Tokenizer& tokenizer,
                                                         TemplateLimits limits) {
  M2_ASSIGN(ControlMarks marks, ControlMarks::make(tokenizer));
  M2_ASSIGN(TemplateHandle raw, compile(name, source, limits, 0));
  M2_ASSIGN(TemplateHandle marked,
            compile(name, marks.mark_source(source), limits, ControlMarks::kFirstMark));
  std::unique_ptr<ChatTemplate> out(new ChatTemplate());
  out->impl_ = std::make_unique<Impl>(
      Impl{std::move(name), tokenizer, std::move(marks), std::move(marked), std::move(raw)});
  if (!out->impl_->finds_all_control_tokens()) {
    out->impl_->hides_control_tokens = true;
    log_warning("{}: builds control tokens from pieces; only --parse-special-in-text can serve it",
                out->impl_->name);
  }
  return out;
}

Result<std::string> ChatTemplate::render_text(const ChatInput& input) const {
  M2_ASSIGN(std::string rendered, impl_->render(input));
  return input.parse_special_in_text ? std::move(rendered) : impl_->marks.plain(rendered);
}

Result<RenderedChat> ChatTemplate::render(const ChatInput& input) const {
  if (impl_->hides_control_tokens && !input.parse_special_in_text) {
    return fail(ErrorKind::kUnsupported, "messages",
                "the chat template {} builds control tokens from pieces, so client text cannot be "
                "told from them; serve it with --parse-special-in-text",
                impl_->name);
  }
  M2_ASSIGN(std::string rendered, impl_->render(input));
  RenderedChat out;
  if (input.parse_special_in_text) {
    M2_ASSIGN(out.tokens, impl_->tokenizer.encode(rendered, AddedTokens::kParse));
    out.text = std::move(rendered);
    return out;
  }
  M2_ASSIGN(out.tokens, impl_->marks.encode(rendered));
  out.text = impl_->marks.plain(rendered);
  return out;
}

}  // namespace m2
