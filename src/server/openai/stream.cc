#include "server/openai/stream.h"

#include <fmt/format.h>

#include "server/http/sse.h"
#include "server/openai/errors.h"

namespace m2 {

OpenAiStream::OpenAiStream(const OpenAiReply& reply, std::string_view object)
    : exchange_(*reply.exchange) {
  prefix_ = "{\"id\":";
  json::append_quoted(prefix_, reply.id);
  prefix_ += fmt::format(",\"object\":\"{}\",\"created\":{},\"model\":", object, reply.created);
  json::append_quoted(prefix_, reply.settings.model);
  prefix_ += ",\"choices\":[";
  exchange_.open_stream(sse_head());
}

std::string& OpenAiStream::open_choice(int32_t choice) {
  begin_event(events_);
  events_ += prefix_;
  events_ += "{\"index\":";
  events_ += std::to_string(choice);
  return events_;
}

void OpenAiStream::close_choice(const ReplyUsage* usage, std::string_view members) {
  events_ += "}]";
  events_ += members;
  if (usage) {
    events_ += ",\"usage\":";
    append_usage(events_, *usage);
  }
  events_ += '}';
  end_event(events_);
}

void OpenAiStream::flush() {
  if (events_.empty()) return;
  exchange_.write(events_);
  events_.clear();
}

void OpenAiStream::end(const ReplyUsage* usage) {
  if (usage) {
    begin_event(events_);
    events_ += prefix_;
    events_ += "],\"usage\":";
    append_usage(events_, *usage);
    events_ += '}';
    end_event(events_);
  }
  events_ += kSseDone;
  flush();
  exchange_.finish();
}

void OpenAiStream::fail(const Error& error) {
  // Nothing has gone out yet: a proper status tells more than an event.
  if (exchange_.reply(openai_error(error))) return;
  begin_event(events_);
  events_ += openai_error_json(error);
  end_event(events_);
  events_ += kSseDone;
  flush();
  exchange_.finish();
}

}  // namespace m2
