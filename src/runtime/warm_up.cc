#include "runtime/warm_up.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "model/forward.h"

namespace m2 {
namespace {

class WarmUp {
 public:
  WarmUp(RankParts& parts, const OpsLimits& limits)
      : limits_(limits),
        forward_(parts.weights, *parts.ops, *parts.communicator),
        ops_(*parts.ops),
        blocks_(limits.num_blocks) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  // So many rows of one token, none of them after anything.
  Status decode(int32_t size) {
    const int32_t count = std::min({size, limits_.max_sequences, limits_.max_step_tokens});
    rows_.clear();
    for (int32_t i = 0; i < count; ++i) {
      rows_.push_back({i, i, 1, 0, std::span(blocks_).subspan(i % limits_.num_blocks, 1)});
    }
    return run(count);
  }
  // A prompt of so many tokens, as far as one may be that long.
  Status prompt(int32_t size) {
    const int64_t room = int64_t{limits_.num_blocks} * limits_.block_tokens;
    const auto count = static_cast<int32_t>(
        std::min<int64_t>({size, limits_.max_step_tokens, limits_.max_model_tokens, room}));
    rows_.assign(1, {0, 0, count, 0, blocks_});
    return run(count);
  }

 private:
  Status run(int32_t tokens) {
    tokens_.assign(tokens, 0);
    forward_.run({tokens_, rows_});
    SampleRequest request;
    request.token_index = tokens - 1;
    request.temperature = 0;
    forward_.sample({&request, 1});
    return ops_.collect(output_);
  }

  const OpsLimits& limits_;
  Forward forward_;
  Ops& ops_;
  std::vector<int32_t> blocks_;  // all of them
  std::vector<int32_t> tokens_;
  std::vector<BatchRow> rows_;
  SampleOutput output_;
};

}  // namespace

Status warm_up(RankParts& parts, const OpsLimits& limits) {
  WarmUp warm_up(parts, limits);
  // The largest first: what is not enough memory shows at once.
  const auto sizes = parts.ops->sizes_to_warm();
  for (size_t i = sizes.size(); i-- > 0;) {
    M2_TRY(warm_up.decode(sizes[i]));
    M2_TRY(warm_up.prompt(sizes[i]));
  }
  return {};
}

}  // namespace m2
