// Orders requests so that each client gets an equal share: start-time fair queueing. A request's
// turn is where its client's earlier requests end on a clock of work, which runs with the requests
// that start. One client's hundred long prompts thus line up behind each other, not before
// everybody else's next one. With one client the order is that of arrival.
//
// Thread-safety: one owner. Invariant: turns of one client never decrease.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace m2 {

class FairShare {
 public:
  // The turn of a request that arrives now and will take `work` (any unit, the same for all).
  uint64_t enter(uint64_t client, uint64_t work);
  // A request with this turn started.
  void start(uint64_t turn);

  size_t clients() const { return ends_.size(); }  // that are remembered

 private:
  uint64_t now_ = 0;
  std::unordered_map<uint64_t, uint64_t> ends_;  // client → where its last request ends
};

}  // namespace m2
