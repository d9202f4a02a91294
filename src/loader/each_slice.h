// Runs one function over many slices of weights on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model/shard.h"

namespace m2 {

// Calls fill(slice) once for each slice, on `threads` threads (the caller's is one of them); which
// thread takes which slice is left open. After an error no further slice is begun, and one of the
// errors is returned.
template <typename Fill>
Status for_each_slice(const std::vector<TensorSlice>& slices, int threads, const Fill& fill) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status outcome;
  const auto work = [&] {
    for (size_t i = next++; i < slices.size(); i = next++) {
      Status filled = fill(slices[i]);
      if (filled) continue;
      next = slices.size();
      std::lock_guard lock(mutex);
      outcome = std::move(filled);
    }
  };
  {
    std::vector<std::jthread> helpers;
    const size_t wanted = std::min(slices.size(), static_cast<size_t>(std::max(threads, 1)));
    for (size_t i = 1; i < wanted; ++i) helpers.emplace_back(work);
    work();
  }
  return outcome;
}

}  // namespace m2
