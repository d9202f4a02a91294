// A request's conversation, {"messages", "tools", and template variables}: it is refused, or it
// renders to the same text with and without marks, and never faults.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "tests/text/tiny_template.h"

namespace {

struct Fixture {
  std::unique_ptr<m2::Tokenizer> tokenizer = m2::tiny_tokenizer();
  std::unique_ptr<m2::ChatTemplate> chat = m2::load_template(m2::kTinyTemplate, *tokenizer);
};

void check_no_fault(const m2::Error& error) {
  M2_CHECK(error.kind != m2::ErrorKind::kInternal, "{}", error.message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Fixture* const fixture = new Fixture();
  auto request = m2::json::parse({reinterpret_cast<const char*>(data), size});
  if (!request || !request->is_object()) return 0;
  m2::ChatInput input;
  for (const auto& [key, value] : request->as_object()) {
    if (key == "messages") {
      auto messages = m2::normalize_messages(value);
      if (!messages) return check_no_fault(messages.error()), 0;
      input.messages = std::move(*messages);
    } else if (key == "tools") {
      input.tools = value;
    } else if (key == "continue_final_message") {
      input.continue_final_message = true;
    } else {
      input.kwargs.set(key, value);
    }
  }
  const auto marked = fixture->chat->render(input);
  input.parse_special_in_text = true;
  const auto special = fixture->chat->render_text(input);
  if (!marked) check_no_fault(marked.error());
  if (!special) check_no_fault(special.error());
  if (marked && special) {
    M2_CHECK(marked->text == *special, "marks change the text: {} or {}", marked->text, *special);
  }
  return 0;
}
