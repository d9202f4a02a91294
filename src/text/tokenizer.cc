#include "text/tokenizer.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "json/utf8.h"
#include "text/ffi/ffi.h"

namespace m2 {

namespace {

constexpr size_t kMaxFileBytes = 256u << 20;

}  // namespace

struct Tokenizer::Impl {
  std::unique_ptr<M2Tokenizer, ffi::TokenizerDeleter> handle;
  M2Vocabulary vocabulary{};
  std::vector<AddedToken> added;
  int32_t max_token_bytes = 0;

  // Ids come from the model and from clients; any integer is allowed.
  bool knows(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < vocabulary.size; }
  std::string_view bytes(int32_t id) const {
    return text_of(vocabulary.bytes, vocabulary.byte_offsets, id);
  }
  std::string_view spelling(int32_t id) const {
    return text_of(vocabulary.strings, vocabulary.string_offsets, id);
  }

 private:
  std::string_view text_of(const uint8_t* data, const uint32_t* offsets, int32_t id) const {
    if (!knows(id)) return {};
    return {reinterpret_cast<const char*>(data) + offsets[id], offsets[id + 1] - offsets[id]};
  }
};

Tokenizer::Tokenizer() : impl_(std::make_unique<Impl>()) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path) {
  M2_ASSIGN(const std::string text, read_file(path, kMaxFileBytes));
  return parse(path, text);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::parse(const std::string& name,
                                                    std::string_view json) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  Impl& impl = *tokenizer->impl_;
  M2Tokenizer* handle = nullptr;
  ffi::Buffer error;
  const int32_t code = m2_tokenizer_load(ffi::slice(json), &handle, error.get());
  if (code != M2_OK) return invalid("", "{}: {}", name, error.view());
  impl.handle.reset(handle);
  m2_tokenizer_vocabulary(handle, &impl.vocabulary);
  // Added tokens are collected once, so that looking for them costs a request nothing.
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    const auto bytes = static_cast<int32_t>(impl.bytes(id).size());
    impl.max_token_bytes = std::max(impl.max_token_bytes, bytes);
    if (tokenizer->is_added(id)) {
      impl.added.push_back({std::string(impl.bytes(id)), id, tokenizer->is_special(id)});
    }
  }
  return tokenizer;
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, AddedTokens added) const {
  ffi::Ids ids;
  ffi::Buffer error;
  const int32_t code = m2_tokenizer_encode(impl_->handle.get(), ffi::slice(text),
                                           added == AddedTokens::kParse, ids.get(), error.get());
  // A panic of the library: ours to mend, so not the client's fault.
  if (code == M2_FAULT) return fail(ErrorKind::kInternal, "", "tokenizer: {}", error.view());
  if (code != M2_OK) return invalid("", "tokenizer: {}", error.view());
  const std::span<const uint32_t> view = ids.view();
  return std::vector<int32_t>(view.begin(), view.end());
}

std::string_view Tokenizer::token_bytes(int32_t id) const { return impl_->bytes(id); }
std::string_view Tokenizer::token_string(int32_t id) const { return impl_->spelling(id); }

bool Tokenizer::is_special(int32_t id) const {
  return impl_->knows(id) && (impl_->vocabulary.flags[id] & M2_TOKEN_SPECIAL) != 0;
}
bool Tokenizer::is_added(int32_t id) const {
  return impl_->knows(id) && (impl_->vocabulary.flags[id] & M2_TOKEN_ADDED) != 0;
}
std::span<const AddedToken> Tokenizer::added_tokens() const { return impl_->added; }

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  const int32_t id = m2_tokenizer_token_id(impl_->handle.get(), ffi::slice(token));
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->vocabulary.size); }
int32_t Tokenizer::max_token_bytes() const { return impl_->max_token_bytes; }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += impl_->bytes(id);
  }
  std::string text;
  json::append_valid_utf8(text, bytes);
  return text;
}

}  // namespace m2
