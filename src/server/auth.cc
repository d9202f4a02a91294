#include "server/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace m2 {

Auth::Auth(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    const Digest own = digest(key);
    if (std::find(digests_.begin(), digests_.end(), own) == digests_.end()) digests_.push_back(own);
  }
}

Auth::Digest Auth::digest(std::string_view key) {
  Digest out;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out.data());
  return out;
}

Auth::Answer Auth::check(const HttpRequest& head) const {
  if (open()) return {.allowed = true};
  std::string_view key = head.field("x-api-key");
  const std::string_view authorization = head.field("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() > kScheme.size() &&
      same_text(authorization.substr(0, kScheme.size()), kScheme)) {
    key = authorization.substr(kScheme.size());
  }
  if (key.empty()) return {};
  const Digest given = digest(key);
  uint64_t client = 0;
  for (size_t i = 0; i < digests_.size(); ++i) {
    const uint64_t same = CRYPTO_memcmp(digests_[i].data(), given.data(), given.size()) == 0;
    client |= same * (i + 1);  // at most one is the same
  }
  return {.allowed = client != 0, .key_sent = true, .client = client};
}

}  // namespace m2
