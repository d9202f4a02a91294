// CUDA's handles on the host: what is enqueued runs late, when somebody waits for it, or at once,
// as chance has it. While a stream is captured, what is enqueued goes to a graph.
//
// Thread-safety: a stream and its events belong to one thread.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "tests/backend/cuda/emulator/grid.h"

// In order; what is no kernel is the host's.
using StreamItem = std::variant<std::shared_ptr<const m2::emulator::Launch>, std::function<void()>>;
using StreamWork = std::vector<StreamItem>;

struct CUgraph_st {
  StreamWork work;
};
struct CUgraphExec_st {
  StreamWork work;
};

struct CUstream_st {
  void enqueue(StreamItem item);
  void run_all();

  StreamWork pending;
  CUgraph_st* captured = nullptr;
};

struct CUevent_st {
  CUstream_st* stream = nullptr;  // of the record that was last
  bool reached = true;
};
