#include "cli/runtime_options.h"

#include <algorithm>

namespace m2::cli {

RuntimeOptions runtime_options(const ServeOptions& options) {
  RuntimeOptions out;
  out.device = options.device;
  out.plain_kernels = options.plain_kernels;
  out.threads = options.threads;
  out.parallelism = {options.tensor_parallel, options.expert_parallel};
  out.replicas = options.data_parallel;
  out.memory_share = options.gpu_memory_utilization;
  out.kv_cache_bytes = options.kv_cache_bytes;
  out.num_blocks = options.num_blocks;
  out.block_tokens = options.block_tokens;
  out.fit_length = options.fit_length;
  out.kv_dtype = options.kv_dtype;
  out.graphs = options.graphs;
  // Every running sequence has a token in every step. Where one of the two is given, the other's
  // default follows it.
  if (options.max_step_tokens > 0) {
    out.max_step_tokens = options.max_step_tokens;
    out.max_sequences = std::min(out.max_sequences, out.max_step_tokens);
  }
  if (options.max_sequences > 0) {
    out.max_sequences = options.max_sequences;
    if (options.max_step_tokens == 0) {
      out.max_step_tokens = std::max(out.max_step_tokens, out.max_sequences);
    }
  }
  return out;
}

}  // namespace m2::cli
