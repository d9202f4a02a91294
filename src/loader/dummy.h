// Random weights for `--load-format dummy`: no file is read, and every value follows from the seed,
// the tensor's name and the element's place in the whole tensor. So any number of ranks or threads
// gives the same model.
//
// Every matrix has unit gain (standard deviation 1 / sqrt(inputs), which in FP8 the scales give):
// activations keep their size through all layers and the router spreads tokens over its experts, so
// that timings and memory are those of a trained model. With weights near zero every token would
// take the same experts.
//
// Thread-safety: pure functions over the given memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/config.h"
#include "model/shard.h"

namespace m2 {

// Fills one rank's weights; `weights` holds weights_bytes(config, shard) bytes of host memory.
void fill_dummy(const ModelConfig& config, const Shard& shard, uint64_t seed, int threads,
                std::byte* weights);

// One slice alone; `scales` takes its tiles, or is null for a slice that has none.
void fill_dummy_slice(const TensorSlice& slice, uint64_t seed, std::byte* data, float* scales);

}  // namespace m2
