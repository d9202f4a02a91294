// Conversations and texts to prompts in tokens, within the model's context: what is too long is
// refused by its bytes before it is tokenised.
//
// Thread-safety: const once set_context() was called; all else from any text thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/chat.h"
#include "server/server.h"

namespace m2 {

struct EncodedChat {
  std::string text;
  std::vector<TokenId> tokens;
  bool in_reasoning = false;  // the prompt ends inside <think>
};

class Prompts {
 public:
  // Both outlive this.
  Prompts(const ServerOptions& options, const ServerModel& model);
  void set_context(int32_t context_tokens) { context_tokens_ = context_tokens; }
  int32_t context_tokens() const { return context_tokens_; }

  // Takes the request's messages away: they may be megabytes.
  Result<EncodedChat> chat(ChatRequest& request) const;
  Result<std::vector<TokenId>> text(const std::string& text) const;

  // Cuts to options.truncate_prompt_tokens, checks the length, and says how many tokens the reply
  // may have; `fallback` where the request does not say (0: what the context leaves). `field` is
  // what errors call the prompt.
  Result<int32_t> fit(std::vector<TokenId>& prompt, const GenerationOptions& options,
                      int32_t fallback, const char* field) const;

  // The token sequences that spell a bad word, at a text's start and after a space.
  Result<std::vector<std::vector<TokenId>>> bad_words(const std::vector<std::string>& words) const;

 private:
  Status check_bytes(size_t bytes, const char* field) const;

  const ServerOptions& options_;
  const ServerModel& model_;
  const TokenId think_begin_, think_end_, role_begin_;
  std::atomic<int32_t> context_tokens_{0};  // 0 while the model loads
};

}  // namespace m2
