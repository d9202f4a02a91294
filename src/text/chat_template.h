// Renders a conversation with the checkpoint's own Jinja template and tokenises the result, such
// that control tokens come from the template alone: client strings that spell an added token are
// marked before templating, and marked text is encoded as ordinary characters.
//
// The template runs in a sandbox with fuel, output and nesting limits (it is foreign code).
// Thread-safety: const after load(); render from any thread, never on an io or engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "text/tokenizer.h"

namespace m2 {

struct TemplateLimits {
  // Template instructions; data that a template makes is paid for too, at 64 bytes each.
  uint64_t fuel = 20'000'000;
  size_t max_output_bytes = 64u << 20;
};

struct ChatInput {
  json::Value messages;  // normalised (normalize_messages); an array
  json::Value tools;     // an array of {"type": "function", "function": …}, or null
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the last message is left open
  json::Object kwargs;  // further template variables (chat_template_kwargs), allowed ones only
  bool parse_special_in_text = false;  // vLLM's way: client text may speak control tokens
};

struct RenderedChat {
  std::string text;  // as a person reads it: without marks
  std::vector<int32_t> tokens;
};

class ChatTemplate {
 public:
  // `source` is Jinja text; `name` shows in errors. The tokenizer outlives the template.
  static Result<std::unique_ptr<ChatTemplate>> load(std::string name, std::string source,
                                                    const Tokenizer& tokenizer,
                                                    TemplateLimits limits = {});
  ~ChatTemplate();

  // kInvalidArgument (field "messages") when the template raises an exception; kTooLarge past
  // limits.
  Result<RenderedChat> render(const ChatInput& input) const;

  // As render() without tokenising. With marks = false: plain text.
  Result<std::string> render_text(const ChatInput& input) const;

 private:
  ChatTemplate();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Most bytes of a template's source. Real ones have ten thousand.
inline constexpr size_t kMaxTemplateBytes = 4u << 20;

// Finds the template of a model folder: chat_template.jinja, else tokenizer_config.json's
// "chat_template" (a string, or a list of {"name", "template"} whose "default" is taken).
Result<std::string> read_chat_template(const std::string& model_folder);

// Brings OpenAI messages into the form that the template expects (facts of the chat format):
// arguments strings parsed to objects, an assistant's or a tool's null content to "", reasoning /
// reasoning_content / reasoning_details to reasoning_content, developer and later system messages
// folded into the neighbouring user turn. The one place that checks their form: what is wrong is
// refused by its index. Extra keys pass through.
Result<json::Value> normalize_messages(json::Value messages);

}  // namespace m2
