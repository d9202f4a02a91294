// Writes a step's SamplePlan: what to draw or to judge of each queued row, with everything that
// only the host knows (masks, bans, penalty history). Called after the step before it was
// committed, so that the newest tokens count.
#pragma once

#include "engine/executor.h"
#include "engine/step.h"

namespace m2 {

// Fills step.sample from step.rows, and sets first_sample and wasted of each row. Rows of sequences
// that have ended meanwhile are not sampled.
void plan_samples(const Capacity& capacity, Step& step);

}  // namespace m2
