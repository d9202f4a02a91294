// The frame around every event of an OpenAI stream: made once a stream, so that an event costs a
// few appends. Shared by chats and completions.
//
// Thread-safety: one owner.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "server/openai/reply.h"

namespace m2 {

class OpenAiStream {
 public:
  // `object`: "chat.completion.chunk". Opens the exchange's stream.
  OpenAiStream(const OpenAiReply& reply, std::string_view object);

  // An event with one choice: open_choice(i), the choice's members after its index, close_choice().
  std::string& open_choice(int32_t choice);
  // `usage` may be null; `members` are further ones of the event, each with a comma before it.
  void close_choice(const ReplyUsage* usage, std::string_view members = "");

  void flush();                       // sends the events made so far
  void end(const ReplyUsage* usage);  // the last event with the usage, [DONE], and out
  void fail(const Error& error);

 private:
  HttpExchange& exchange_;
  std::string prefix_;  // data: {"id":…,"choices":[
  std::string events_;
};

}  // namespace m2
