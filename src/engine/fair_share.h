// Gives each client an equal share.
//
// Of starts, by start-time fair queueing: a request's turn is where its client's earlier requests
// end on a clock of work, which runs with the requests that start. One client's hundred long
// prompts thus line up behind each other, not before everybody else's next one. With one client the
// order is that of arrival.
//
// Of what runs, by counts: with slots or memory full, the order of starts alone would leave a
// newcomer waiting for whole replies of others.
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

  // So many more sequences of the client (fewer, if negative) wait or run.
  void add_waiting(uint64_t client, int32_t sequences) { add(client, sequences, 0); }
  void add_running(uint64_t client, int32_t sequences) { add(client, 0, sequences); }
  int32_t running(uint64_t client) const;
  uint64_t busiest() const;  // the client that runs most; any when none runs
  // True when somebody waits whose client is short of `running` by two or more: to take one from a
  // client that runs so many makes the two more equal, not the other way round.
  bool leaves_behind(int32_t running) const;

  size_t clients() const { return ends_.size(); }  // whose turns are remembered

 private:
  struct Load {
    int32_t waiting = 0, running = 0;
  };
  void add(uint64_t client, int32_t waiting, int32_t running);

  uint64_t now_ = 0;
  std::unordered_map<uint64_t, uint64_t> ends_;  // client → where its last request ends
  std::unordered_map<uint64_t, Load> loads_;     // of clients that have anything
};

}  // namespace m2
