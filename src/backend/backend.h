// Chooses a device and makes its Ops. The CPU is built in; other devices are plug-ins that are
// opened by name, so that one program starts on any machine and says what it chose.
//
// Thread-safety: open_backend() and the sizes from any thread; make_ops() on the rank's thread,
// which then owns what it made.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/config.h"
#include "model/ops.h"
#include "model/weight_block.h"

namespace m2 {

// Which steps of a GPU are recorded once and replayed: none, those of decode as a whole, or all by
// pieces between attentions. kFull is kFullAndPiecewise: attention of a mixed step is launched.
enum class GraphMode : uint8_t { kNone, kPiecewise, kFull, kFullDecodeOnly, kFullAndPiecewise };

struct GraphOptions {
  GraphMode mode = GraphMode::kFullDecodeOnly;
  std::vector<int32_t> sizes{};  // tokens of the steps that are; empty: the usual ones
  int32_t max_size = 0;          // of the usual ones; 0: 512
};

struct BackendOptions {
  std::string device = "auto";  // "auto", "cpu" or "cuda"
  int32_t threads = 0;          // CPU threads of all ranks together; 0: the cores
  int32_t ranks = 1;            // on this machine
  GraphOptions graphs{};
  std::string reason{};            // why it is the CPU, where the caller knows better
  bool note_kernel_times = false;  // of a GPU: for Ops::kernel_times()
  bool plain_kernels = false;      // of the CPU: slow ones, to hold the others against
};

// What a device can do at best, measured.
struct DeviceRates {
  double read_bytes = 0;     // a second
  double flops = 0;          // a second, of the kind that products use
  std::string flops_name{};  // which that is
};

// A process that holds memory of a device.
struct DeviceProcess {
  int32_t pid = 0;
  std::string name{};  // empty: not known
  size_t bytes = 0;    // 0: not known
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;    // "cpu" or "cuda"
  virtual std::string detail() const = 0;  // for the log: instruction set, threads, why this device
  // Whether ranks that wait for each other may spin: each of their threads has a core.
  virtual bool may_spin() const = 0;
  // Refuses what the device cannot run, with the reason, before anything is loaded.
  virtual Status serves(const ModelConfig& config, const Shard& shard) const = 0;
  // In what keys and values are kept where nothing is asked for.
  virtual DType kv_dtype() const = 0;
  // Memory that weights, KV cache and scratch of all ranks may take together.
  virtual size_t free_bytes() const = 0;
  // All memory of a device that is the model's alone; 0 where it is shared with all else that the
  // machine does, so that no more than needed is taken.
  virtual size_t total_bytes() const { return 0; }
  // Of such a device, for messages: those that can be seen, the largest first.
  virtual std::vector<DeviceProcess> other_processes() const { return {}; }
  virtual OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                               const OpsLimits& limits) const = 0;
  // Takes about a second and up to 2 GiB; nothing else may run.
  virtual Result<DeviceRates> measure_rates() const = 0;
  // Zeroed memory for a rank's weights, where its ops read them.
  virtual Result<std::unique_ptr<WeightBlock>> make_weights(size_t bytes, const Shard& shard) = 0;
  // Allocates everything that the ops will ever use; an error says what did not fit.
  virtual Result<std::unique_ptr<Ops>> make_ops(const ModelConfig& config, const Shard& shard,
                                                const OpsLimits& limits) = 0;
};

inline constexpr const char* kCudaPlugin = "libm2_cuda.so";

Result<std::unique_ptr<Backend>> open_backend(const BackendOptions& options);

}  // namespace m2
