// Pieces of OpenAI's replies that chats and completions share: ids, usage, logprobs, finish
// reasons. Written straight to text, without a tree: a stream makes thousands of them a second.
//
// Thread-safety: plain values and pure functions.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/exchange.h"
#include "server/openai/request.h"
#include "server/reply_writer.h"
#include "server/service.h"
#include "text/tokenizer.h"

namespace m2 {

// What every writer of a reply has.
struct OpenAiReply {
  ReplySettings settings;
  const Tokenizer& tokenizer;
  std::shared_ptr<HttpExchange> exchange;
  OpenCount open;                             // the request counts as open while its writer lives
  std::string id;                             // "chatcmpl-…"
  int64_t created = 0;                        // seconds since 1970
  std::vector<std::vector<TokenId>> prompts;  // kept where the reply shows them
};

std::string random_hex(int digits);
// `client_id` (X-Request-Id) becomes part of the id where it is short and plain.
std::string reply_id(std::string_view prefix, std::string_view client_id);
int64_t now_seconds();

void append_usage(std::string& out, const ReplyUsage& usage);  // an object
void append_ids(std::string& out, const std::vector<TokenId>& ids);
void append_logprob(std::string& out, float value);  // JSON has no infinity: those are ±9999
void append_cause(std::string& out, const StopCause& cause);

// The token's text for logprobs: decoded alone, or "token_id:5".
std::string token_label(const OpenAiReply& reply, TokenId token);

// {"token", "logprob", "bytes", "top_logprobs"} each, as chats have it.
void append_chat_logprobs(std::string& out, const OpenAiReply& reply,
                          const std::vector<TokenLogprobs>& logprobs);

// vLLM's prompt_logprobs: null for the first token, then {"id": {"logprob", "rank",
// "decoded_token"}} each, of the `most` best and the token itself.
void append_prompt_logprobs(std::string& out, const OpenAiReply& reply,
                            const std::vector<TokenLogprobs>& logprobs,
                            size_t most = std::numeric_limits<size_t>::max());

}  // namespace m2
