// Positions at which the choice of experts hangs on less than a rounding: what logits differ in
// there is no fault of a device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/backend/cuda/compare_logits.h"

namespace m2::test {

// Of these positions of a sequence, those that are no router ties. At a tie the CPU's own logits
// are others by `other` standard deviations when the experts' biases are moved by `move`, in terms
// of a score in (0, 1). Any two experts differ in a bit of their number, and so are moved both
// apart and together. The CPU's weights are its own copy, and are as before in the end.
inline std::vector<size_t> not_tied(Runner& cpu, const std::vector<int32_t>& tokens,
                                    const std::vector<Logits>& oracle,
                                    std::vector<size_t> positions, float move, double other) {
  const Model& model = cpu.model();
  const auto moved = [&](int32_t bit, float by) {
    for (const LayerWeights& layer : model.weights.layers) {
      auto* bias = const_cast<float*>(layer.gate_bias);
      for (int32_t e = 0; e < model.config.num_experts; ++e) {
        if ((e & bit) != 0) bias[e] += by;
      }
    }
  };
  for (int32_t bit = 1; bit < model.config.num_experts; bit *= 2) {
    for (const float by : {move, -move}) {
      if (positions.empty()) return positions;
      moved(bit, by);
      const auto others = compare_logits(cpu.sequence(tokens, 1000), oracle, other).over;
      moved(bit, -by);
      std::erase_if(positions, [&](size_t position) {
        return std::binary_search(others.begin(), others.end(), position);
      });
    }
  }
  return positions;
}

}  // namespace m2::test
