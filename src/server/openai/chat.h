// OpenAI's chat completions: the request.
//
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "base/error.h"
#include "server/chat.h"
#include "server/openai/request.h"

namespace m2 {

struct OpenAiChat {
  ChatRequest request;
  ReplySettings reply;
  std::string role;         // of the reply
  std::string echoed_text;  // "echo": what stands before the reply's content
};

Result<OpenAiChat> parse_openai_chat(json::Value body, const RequestRules& rules);

// The messages, tools and template fields alone; for /tokenize too.
Status read_conversation(json::Object& body, const RequestRules& rules, ChatRequest& out);

}  // namespace m2
