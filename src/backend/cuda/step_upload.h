// Where the arrays of a step lie in the block that is copied to the device. Places depend on the
// limits alone, so that kernels can be recorded once and replayed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cuda/portable/attention.cuh"
#include "model/ops.h"

namespace m2 {

struct StepUpload {
  // Arrays over one block; of each only what is used is copied.
  int32_t* num_tokens = nullptr;         // [1] those that are not padding
  int32_t* tokens = nullptr;             // [max tokens]
  int32_t* token_row = nullptr;          // [max tokens]
  int32_t* position = nullptr;           // [max tokens]
  cuda::RowInfo* rows = nullptr;         // [max rows]
  int32_t* decode_rows = nullptr;        // [max rows]
  cuda::AttentionItem* items = nullptr;  // [max items]
  int32_t* blocks = nullptr;             // [max blocks]
  size_t bytes = 0;

  // Steps are padded, also the largest; `largest` is the largest padded size. Padding of decode
  // rows is rows, that of other steps one row more.
  static int32_t max_tokens(const OpsLimits& limits, int32_t largest) {
    return std::max(limits.max_step_tokens, largest);
  }
  static int32_t max_rows(const OpsLimits& limits, int32_t largest) {
    return std::max(limits.max_sequences + 1, largest);
  }
  static int32_t max_items(const OpsLimits& limits, int32_t group) {
    return cuda::divide_up(int64_t{limits.max_step_tokens} * group, cuda::kItemQueries) +
           limits.max_sequences;
  }

  // With a null base only the sizes are right.
  static StepUpload at(std::byte* base, const OpsLimits& limits, int32_t group, int32_t largest) {
    StepUpload places;
    size_t offset = 0;
    const auto take = [&](auto*& pointer, int64_t count) {
      using T = std::remove_reference_t<decltype(*pointer)>;
      pointer = base == nullptr ? nullptr : reinterpret_cast<T*>(base + offset);
      offset += (count * sizeof(T) + 255) / 256 * 256;
    };
    take(places.num_tokens, 1);
    take(places.tokens, max_tokens(limits, largest));
    take(places.token_row, max_tokens(limits, largest));
    take(places.position, max_tokens(limits, largest));
    take(places.rows, max_rows(limits, largest));
    take(places.decode_rows, max_rows(limits, largest));
    take(places.items, max_items(limits, group));
    const int32_t a_row = cuda::divide_up(limits.max_model_tokens, limits.block_tokens);
    take(places.blocks, int64_t{limits.max_sequences} * a_row + 1);  // and padding's
    places.bytes = offset;
    return places;
  }
};

}  // namespace m2
