// API keys: which requests may pass, and whose they are. Keys are kept and compared as SHA-256
// digests, each compare in constant time, all of them every time: the time taken tells nothing.
//
// Thread-safety: const after construction.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/message.h"

namespace m2 {

class Auth {
 public:
  explicit Auth(const std::vector<std::string>& keys);

  bool open() const { return digests_.empty(); }  // no keys: everybody may

  // By "Authorization: Bearer KEY", or "x-api-key: KEY" as other APIs' clients send it.
  struct Answer {
    bool allowed = false;
    bool key_sent = false;  // to tell a wrong key from none
    uint64_t client = 0;    // whose key: 1, 2, … in the keys' order; 0 where none is asked for
  };
  Answer check(const HttpRequest& head) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);

  std::vector<Digest> digests_;
};

}  // namespace m2
