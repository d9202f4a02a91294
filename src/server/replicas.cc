#include "server/replicas.h"

#include <algorithm>
#include <utility>

namespace m2 {
namespace {

// The finaliser of murmur3: spreads every bit. Collisions only send a prompt to another replica.
uint64_t mix(uint64_t h) {
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
  return h ^ (h >> 33);
}

int64_t reply_tokens(int32_t max_tokens) {
  return std::clamp<int64_t>(max_tokens, 1, Replicas::kReplyTokens);
}

}  // namespace

// A chained hash at the end of every stride; returns how many there are.
size_t Replicas::hash(std::span<const TokenId> prompt, std::string_view salt, Hashes& hashes) {
  uint64_t h = mix(salt.size() + 1);
  for (const char c : salt) h = mix(h ^ static_cast<unsigned char>(c));
  const size_t strides = std::min(prompt.size() / kStrideTokens, kMostStrides);
  for (size_t i = 0; i < strides; ++i) {
    for (const TokenId id : prompt.subspan(i * kStrideTokens, kStrideTokens)) {
      h = mix(h ^ static_cast<uint32_t>(id));
    }
    hashes[i] = h;
  }
  return strides;
}

Replicas::Seat Replicas::take(std::span<const TokenId> prompt, std::string_view salt,
                              int32_t max_tokens, const std::function<bool(int32_t)>& full) {
  const int64_t reply = reply_tokens(max_tokens);
  const auto tokens = static_cast<int64_t>(prompt.size());
  if (size() == 1) {
    std::lock_guard lock(mutex_);
    work_[0] += tokens + reply;
    return {0, tokens + reply};
  }
  Hashes hashes;
  const size_t strides = hash(prompt, salt, hashes);
  std::lock_guard lock(mutex_);
  new_.assign(size(), tokens);
  for (size_t i = 0; i < strides; ++i) {
    const auto found = seen_.find(hashes[i]);
    if (found == seen_.end()) break;  // whoever saw more of it saw this much
    new_[found->second] = tokens - static_cast<int64_t>((i + 1) * kStrideTokens);
  }
  full_.assign(size(), false);
  for (int32_t i = 0; full && i < size(); ++i) full_[i] = full(i);
  const auto load = [this](int32_t i) {
    return std::pair<bool, int64_t>(full_[i], work_[i] + new_[i]);
  };
  int32_t chosen = -1;
  for (int32_t i = 1; i <= size(); ++i) {
    const int32_t replica = (last_ + i) % size();
    if (chosen < 0 || load(replica) < load(chosen)) chosen = replica;
  }
  last_ = chosen;
  for (size_t i = 0; i < strides; ++i) remember(hashes[i], chosen);
  work_[chosen] += new_[chosen] + reply;
  return {chosen, new_[chosen] + reply};
}

Replicas::Seat Replicas::join(const Seat& first, int32_t max_tokens) {
  const int64_t reply = reply_tokens(max_tokens);
  std::lock_guard lock(mutex_);
  work_[first.replica] += reply;
  return {first.replica, reply};
}

void Replicas::release(const Seat& seat) {
  std::lock_guard lock(mutex_);
  work_[seat.replica] -= seat.work_tokens;
}

int64_t Replicas::work_tokens(int32_t replica) const {
  std::lock_guard lock(mutex_);
  return work_[replica];
}

void Replicas::remember(uint64_t prefix, int32_t replica) {
  const auto [place, is_new] = seen_.insert_or_assign(prefix, replica);
  if (!is_new) return;
  if (order_.size() < kMostPrefixes) {
    order_.push_back(prefix);
    return;
  }
  seen_.erase(order_[next_]);
  order_[next_] = prefix;
  next_ = (next_ + 1) % kMostPrefixes;
}

}  // namespace m2
