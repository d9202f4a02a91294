// The engine: continuous batching of many requests over one Executor. One thread runs it; others
// hand it work. Sequences, blocks, prefix cache and scheduler belong to that thread alone.
//
// Thread-safety: submit, cancel, drain, stop, healthy and stats from any thread; run() once.
#pragma once

#include <memory>

#include "base/error.h"
#include "engine/executor.h"
#include "engine/options.h"
#include "engine/output.h"
#include "engine/request.h"
#include "engine/stats.h"

namespace m2 {

class Engine {
 public:
  // `executor` and `sink` outlive the engine.
  Engine(EngineOptions options, Executor& executor, OutputSink& sink);
  ~Engine();

  // Runs until stop() and the end of the step under way, or until drain() and no work is left, or a
  // fault, also of that step. On a fault every open request gets an error output and healthy()
  // turns false; the error is returned. A step that missed its deadline may go on reading this
  // engine's memory.
  Status run();

  // Hands over a request. kUnavailable when the queue is full or the engine is draining;
  // kInvalidArgument when it can never fit (more blocks than the pool has).
  Status submit(Request request);
  bool has_room() const;      // in the queue, for one more
  void cancel(RequestId id);  // unknown or finished ids are ignored

  void drain();  // accept nothing more; run() returns when the last request has ended
  void stop();   // end every open request with kAbort, then run() returns

  bool healthy() const;
  const EngineStats& stats() const;
  const Capacity& capacity() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
