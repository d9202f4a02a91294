// CUDA's handles on the host: what is enqueued runs late, when somebody waits for it, or at once,
// as chance has it. While a stream is captured, what is enqueued goes to a graph.
//
// Thread-safety: a stream and its events belong to one thread.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <vector>

using StreamWork = std::vector<std::function<void()>>;

struct CUgraph_st {
  StreamWork work;
};
struct CUgraphExec_st {
  StreamWork work;
};

struct CUstream_st {
  void enqueue(std::function<void()> item);
  void run_all();

  StreamWork pending;
  CUgraph_st* captured = nullptr;
};

struct CUevent_st {
  CUstream_st* stream = nullptr;  // of the record that was last
  bool reached = true;
};
