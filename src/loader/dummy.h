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
#include "model/weight_block.h"

namespace m2 {

// Fills one rank's weights; `weights` holds weights_bytes(config, shard) bytes. Only the block's
// own errors come back.
Status fill_dummy(const ModelConfig& config, const Shard& shard, uint64_t seed, int threads,
                  WeightBlock& weights);
inline void fill_dummy(const ModelConfig& config, const Shard& shard, uint64_t seed, int threads,
                       std::byte* weights) {
  HostBlock block(weights);
  (void)fill_dummy(config, shard, seed, threads, block);  // memory has no errors
}

// The elements of one slice, of an FP8 model or of a bf16 one, and its table of tiles.
void fill_dummy_elements(const TensorSlice& slice, bool fp8, uint64_t seed, std::byte* out);
void fill_dummy_scales(const TensorSlice& slice, uint64_t seed, float* out);

}  // namespace m2
