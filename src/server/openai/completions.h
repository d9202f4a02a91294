// OpenAI's (older) completions: the request and the reply.
//
// Thread-safety: pure functions; writers as ReplyWriter.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/chat.h"
#include "server/openai/reply.h"
#include "server/openai/request.h"

namespace m2 {

struct OpenAiCompletion {
  CompletionRequest request;
  ReplySettings reply;
  bool echo = false;
  int32_t logprobs = -1, prompt_logprobs = -1;  // as asked for
};

Result<OpenAiCompletion> parse_openai_completion(json::Value body, const RequestRules& rules);

struct CompletionReplyOptions {
  int32_t n = 1;                          // choices a prompt
  std::vector<std::string> prompt_texts;  // with echo only
  bool echo = false;
  int32_t logprobs = -1, prompt_logprobs = -1;  // tops to show of each token; -1: no list at all
};

std::unique_ptr<ReplyWriter> make_completion_stream(OpenAiReply reply,
                                                    CompletionReplyOptions options);
std::unique_ptr<ReplyWriter> make_completion_document(OpenAiReply reply,
                                                      CompletionReplyOptions options);

}  // namespace m2
