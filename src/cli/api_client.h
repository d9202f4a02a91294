// A small client of the OpenAI API, for `m2 chat` and `m2 complete`: one blocking request at a
// time, streamed replies event by event.
//
// Thread-safety: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"

namespace m2::cli {

// Cuts a byte stream into the data of server-sent events. Comments and other fields are skipped.
class SseReader {
 public:
  using Sink = std::function<void(std::string_view data)>;

  // False when a line grows past its bound: the stream is no event stream.
  bool push(std::string_view bytes, const Sink& sink);

 private:
  std::string line_;  // not ended yet
};

class ApiClient {
 public:
  // `url` is the API's base ("http://localhost:8000/v1"), or the server alone, without a path.
  // `api_key` may be empty.
  ApiClient(std::string url, std::string api_key);
  ~ApiClient();

  Result<json::Value> get(std::string_view path);

  // Posts `body` and hands each event's JSON to `on_event` as it comes. An answer that is no
  // stream is an error with the server's own message.
  using OnEvent = std::function<void(const json::Value& event)>;
  Status stream(std::string_view path, const json::Value& body, const OnEvent& on_event);

  // The first model that the server names.
  Result<std::string> first_model();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2::cli
