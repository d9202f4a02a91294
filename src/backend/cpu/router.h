// Which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>

namespace m2 {

// The most experts of a token that this backend serves.
inline constexpr int32_t kMaxExpertsPerToken = 32;

// From fp32 router logits [num_experts]: s = sigmoid(logit) (0 where that is not finite); the
// `count` largest s + bias, ties to the lower index, in falling order, those that are not a number
// last; weights are the s of the chosen, without bias, divided by their sum (by 1 where that is 0).
void choose_experts(const float* logits, const float* bias, int32_t num_experts, int32_t count,
                    int32_t* chosen, float* weights);

}  // namespace m2
