// Chat completions: the reply, as a stream of chunks or as one document.
//
// Thread-safety: as ReplyWriter.
#pragma once

#include <memory>

#include "server/openai/chat.h"
#include "server/openai/reply.h"

namespace m2 {

struct ChatReplyOptions {
  std::string role, echoed_text;
  int32_t choices = 1;
  bool show_reasoning = true;  // false: also no logprobs and token ids, which would tell it
};

std::unique_ptr<ReplyWriter> make_chat_stream(OpenAiReply reply, ChatReplyOptions options);
std::unique_ptr<ReplyWriter> make_chat_document(OpenAiReply reply, ChatReplyOptions options);

}  // namespace m2
