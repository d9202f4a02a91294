#include "engine/prefill_share.h"

#include <algorithm>

namespace m2 {

void PrefillShare::begin(int32_t tokens) {
  parts_.clear();
  tokens_ = tokens;
}

PrefillShare::Part& PrefillShare::part_of(uint64_t client) {
  const auto found = std::ranges::find(parts_, client, &Part::client);
  return found != parts_.end() ? *found : parts_.emplace_back(client, 0, 0);
}

void PrefillShare::add_wanted(uint64_t client, int32_t tokens) { part_of(client).wanted += tokens; }

void PrefillShare::take(uint64_t client, int32_t tokens) {
  Part& part = part_of(client);
  part.wanted = std::max(part.wanted - tokens, 0);
  part.taken += tokens;
}

int32_t PrefillShare::reserved_beside(uint64_t client) const {
  if (parts_.size() < 2) return 0;
  const int32_t equal = tokens_ / static_cast<int32_t>(parts_.size());
  int32_t reserved = 0;
  for (const Part& part : parts_) {
    if (part.client == client) continue;
    reserved += std::min(part.wanted, std::max(equal - part.taken, 0));
  }
  return reserved;
}

}  // namespace m2
