// Which replica of the model a prompt goes to: the one that has the least work to do with it. Work
// is counted in tokens: what a replica has open, and of the prompt what it has not seen. So the
// next turn of a conversation goes where the turns before it are cached, unless that replica has so
// much more to do that computing them again elsewhere is less.
//
// What a replica has seen is remembered, not asked: its cache may have let go of it, which costs
// time and never correctness. Bounded: kMostPrefixes entries, the oldest go first.
//
// Thread-safety: all methods from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/request.h"

namespace m2 {

class Replicas {
 public:
  // A prompt is remembered at every so many tokens, at most so often, and all prompts together at
  // so many places.
  static constexpr size_t kStrideTokens = 64;
  static constexpr size_t kMostStrides = 512;
  static constexpr size_t kMostPrefixes = 65536;
  // How long a reply is, nobody knows: what it counts for, or max_tokens if that is less.
  static constexpr int64_t kReplyTokens = 256;

  explicit Replicas(int32_t count) : work_(count) {}

  int32_t size() const { return static_cast<int32_t>(work_.size()); }

  // A choice's place: to be given back when it has ended, in whatever way.
  struct Seat {
    int32_t replica = 0;
    int64_t work_tokens = 0;
  };
  // For a prompt's first choice. The salt parts prompts that must not share a cache. `full` tells
  // of a replica that its queue takes no more: it is passed over, unless all are full.
  Seat take(std::span<const TokenId> prompt, std::string_view salt, int32_t max_tokens,
            const std::function<bool(int32_t)>& full = {});
  // For its further choices: on the same replica, whose cache then has the prompt.
  Seat join(const Seat& first, int32_t max_tokens);
  void release(const Seat& seat);

  int64_t work_tokens(int32_t replica) const;

 private:
  using Hashes = std::array<uint64_t, kMostStrides>;

  static size_t hash(std::span<const TokenId> prompt, std::string_view salt, Hashes& hashes);
  void remember(uint64_t prefix, int32_t replica);

  mutable std::mutex mutex_;
  std::vector<int64_t> work_;                   // [replicas] open tokens
  std::vector<int64_t> new_;                    // [replicas] scratch of take()
  std::vector<bool> full_;                      // [replicas] likewise
  int32_t last_ = -1;                           // chosen; the next one goes first among equals
  std::unordered_map<uint64_t, int32_t> seen_;  // hash of a prefix, to the last that had it
  std::vector<uint64_t> order_;                 // of seen_, a ring: the oldest at next_
  size_t next_ = 0;
};

}  // namespace m2
