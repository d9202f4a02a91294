#include "engine/fair_share.h"

#include <algorithm>

#include "base/check.h"

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

void FairShare::add(uint64_t client, int32_t waiting, int32_t running) {
  const auto found = loads_.try_emplace(client).first;
  Load& load = found->second;
  load.waiting += waiting;
  load.running += running;
  M2_CHECK(load.waiting >= 0 && load.running >= 0);
  if (load.waiting == 0 && load.running == 0) loads_.erase(found);
}

int32_t FairShare::running(uint64_t client) const {
  const auto found = loads_.find(client);
  return found == loads_.end() ? 0 : found->second.running;
}

uint64_t FairShare::busiest() const {
  const auto most =
      std::ranges::max_element(loads_, {}, [](const auto& entry) { return entry.second.running; });
  return most == loads_.end() ? 0 : most->first;
}

bool FairShare::leaves_behind(int32_t running) const {
  return std::ranges::any_of(loads_, [&](const auto& entry) {
    return entry.second.waiting > 0 && entry.second.running + 2 <= running;
  });
}

}  // namespace m2
