#include "server/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace m2 {

Auth::Auth(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(digest(key));
}

Auth::Digest Auth::digest(std::string_view key) {
  Digest out;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out.data());
  return out;
}

bool Auth::allows(const HttpRequest& head) const {
  if (open()) return true;
  std::string_view key = head.field("x-api-key");
  const std::string_view authorization = head.field("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() > kScheme.size() &&
      same_text(authorization.substr(0, kScheme.size()), kScheme)) {
    key = authorization.substr(kScheme.size());
  }
  if (key.empty()) return false;
  const Digest given = digest(key);
  int allowed = 0;
  for (const Digest& known : digests_) {
    allowed |= CRYPTO_memcmp(known.data(), given.data(), known.size()) == 0;
  }
  return allowed != 0;
}

}  // namespace m2
