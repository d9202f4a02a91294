// The checkpoint's own tokenizer.json, run by the Hugging Face tokenizers library behind our C ABI.
//
// Thread-safety: const after load(); every method from any thread.
// Added tokens (control tokens and a few more) have ids above the base vocabulary. Client text is
// encoded without them: only the chat template may speak control tokens (text/chat_template.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace m2 {

// Whether text that spells an added token becomes that token.
enum class AddedTokens { kParse, kAsText };

struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool special = false;  // special ones are left out of decoded text
};

class Tokenizer {
 public:
  // `path` is a tokenizer.json. Errors name the file and what is wrong with it.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& path);
  // The same from the file's text; `name` shows in errors.
  static Result<std::unique_ptr<Tokenizer>> parse(const std::string& name, std::string_view json);
  ~Tokenizer();

  Result<std::vector<int32_t>> encode(std::string_view text, AddedTokens added) const;

  // The raw bytes of a token as generated text: an added token's text (also a special one's), the
  // bytes of a base token, "" for padding ids and ids out of range.
  std::string_view token_bytes(int32_t id) const;
  // As the vocabulary spells it (byte-level alphabet), for /tokenize's token_strs; "" when unknown.
  std::string_view token_string(int32_t id) const;

  bool is_special(int32_t id) const;  // an added token with special = true
  bool is_added(int32_t id) const;
  std::span<const AddedToken> added_tokens() const;
  std::optional<int32_t> token_id(std::string_view token) const;  // added tokens and vocabulary
  int32_t vocab_size() const;  // last id + 1, without padding rows
  // Most bytes of text that one token can stand for: bounds a prompt before it is tokenised.
  int32_t max_token_bytes() const;

  // All at once: invalid UTF-8 becomes U+FFFD; special tokens left out if asked.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
