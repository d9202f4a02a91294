// What an API makes of a reply as it is generated: events of a stream, or one document at the end.
// Called on the request's strand, in order: begin, then pieces, then end or fail.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/output.h"
#include "text/reply_parser.h"

namespace m2 {

// How clients and metrics name an end.
inline const char* finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kError:
      return "error";
    case FinishReason::kAbort:
    case FinishReason::kNone:
      break;
  }
  return "abort";
}

// Why a choice ended beyond the reason itself: nothing, a stop string, or a stop token's id.
using StopCause = std::variant<std::monostate, std::string, TokenId>;

struct ReplyUsage {
  int32_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0;
};

// What is new of one choice.
struct ReplyPiece {
  int32_t choice = 0;  // of all: prompt * n + the prompt's own
  ReplyDelta delta;    // completions have content alone
  std::vector<TokenId> tokens;
  std::vector<TokenLogprobs> logprobs;        // one a token, where asked for
  FinishReason finish = FinishReason::kNone;  // kStop and tool calls: "tool_calls"
  StopCause cause;
  int32_t tool_calls = 0;  // calls opened so far in this choice
};

class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;

  // Logprobs of prompt `prompt` from its second token on, in pieces, before anything else of it.
  virtual void prompt_logprobs(int32_t prompt, std::vector<TokenLogprobs> logprobs) = 0;
  // `so_far` counts this piece too.
  virtual void piece(ReplyPiece piece, const ReplyUsage& so_far) = 0;
  virtual void end(const ReplyUsage& usage) = 0;
  virtual void fail(const Error& error) = 0;

  // Whether pieces are wanted as they come, and whether also those without text.
  virtual bool streams() const = 0;
  virtual bool wants_every_token() const = 0;
};

}  // namespace m2
