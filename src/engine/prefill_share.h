// Divides a step's prefill among clients: as long as others have prompts to compute, none takes
// more than an equal part of the step's tokens. So a short prompt of one client does not wait until
// a prompt of 200,000 tokens of another is through; what a client has no use for goes to the rest.
//
// Thread-safety: one owner. Nothing allocates after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace m2 {

class PrefillShare {
 public:
  explicit PrefillShare(size_t max_clients) { parts_.reserve(max_clients); }

  // A step begins, with `tokens` for prefill.
  void begin(int32_t tokens);
  // The client has so many more tokens to compute.
  void add_wanted(uint64_t client, int32_t tokens);
  // So many of them are in the step now.
  void take(uint64_t client, int32_t tokens);
  // Tokens of the step that are to be left for other clients.
  int32_t reserved_beside(uint64_t client) const;

 private:
  struct Part {
    uint64_t client;
    int32_t wanted, taken;
  };
  Part& part_of(uint64_t client);

  std::vector<Part> parts_;  // few: those with prompts under way in one step
  int32_t tokens_ = 0;
};

}  // namespace m2
