// Bytes to one HttpRequest, within limits: a thin layer over Beast's parser that adds what a server
// in front of nobody it trusts needs (one Host, no doubtful framing, plain targets).
//
// Thread-safety: one owner.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/message.h"
#include "server/limits.h"

namespace m2 {

class HttpRequestReader {
 public:
  struct Fault {
    int status;
    std::string message;
  };

  explicit HttpRequestReader(const ServerLimits& limits);
  ~HttpRequestReader();

  // Both return how many bytes they have used; the rest is to be given again, with more behind it.
  size_t read_head(std::string_view data);
  size_t read_body(std::string_view data);

  bool head_done() const { return head_done_; }
  bool done() const;  // head and body
  const std::optional<Fault>& error() const { return fault_; }
  void fail(int status, std::string message) { fault_ = Fault{status, std::move(message)}; }

  // Once the head is done.
  HttpRequest take_head();
  bool keep_alive() const { return keep_alive_; }
  bool is_http_1_0() const { return http_1_0_; }
  bool is_head() const { return is_head_; }
  bool expects_continue() const { return expects_continue_; }

  size_t body_bytes() const;
  std::string take_body();

 private:
  struct Impl;

  size_t put(std::string_view data);
  void fail_head_size();
  void check_head();
  void check_fields();

  std::unique_ptr<Impl> impl_;
  const ServerLimits& limits_;
  std::optional<Fault> fault_;
  HttpRequest head_;
  size_t head_bytes_ = 0;  // used so far
  bool head_done_ = false, keep_alive_ = false, http_1_0_ = false, is_head_ = false,
       expects_continue_ = false;
};

}  // namespace m2
