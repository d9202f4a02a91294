#include "engine/fair_share.h"

#include <algorithm>

namespace m2 {

uint64_t FairShare::enter(uint64_t client, uint64_t work) {
  uint64_t& end = ends_[client];
  const uint64_t turn = std::max(end, now_);
  end = turn + work;
  return turn;
}

void FairShare::start(uint64_t turn) {
  if (turn <= now_) return;
  now_ = turn;
  // Clients with nothing ahead of the clock are as good as new ones: the table stays small.
  std::erase_if(ends_, [&](const auto& entry) { return entry.second <= now_; });
}

}  // namespace m2
