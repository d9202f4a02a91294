// Owners for what the Rust library hands out (m2_text_ffi.h).
//
// Thread-safety: one owner each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "text/ffi/m2_text_ffi.h"

namespace m2::ffi {

inline M2Slice slice(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { m2_buffer_free(buffer_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  M2Buffer* get() { return &buffer_; }  // to be filled, once
  std::string_view view() const {
    return {reinterpret_cast<const char*>(buffer_.data), buffer_.size};
  }

 private:
  M2Buffer buffer_{};
};

class Ids {
 public:
  Ids() = default;
  ~Ids() { m2_ids_free(ids_); }
  Ids(const Ids&) = delete;
  Ids& operator=(const Ids&) = delete;

  M2Ids* get() { return &ids_; }
  std::span<const uint32_t> view() const { return {ids_.data, ids_.size}; }

 private:
  M2Ids ids_{};
};

struct TokenizerDeleter {
  void operator()(M2Tokenizer* tokenizer) const { m2_tokenizer_free(tokenizer); }
};
struct TemplateDeleter {
  void operator()(M2Template* chat_template) const { m2_template_free(chat_template); }
};

}  // namespace m2::ffi
