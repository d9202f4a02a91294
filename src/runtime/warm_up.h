// Steps that are run before the first request, so that a device makes nothing on the way later.
//
// Thread-safety: the thread that makes the rank, before its own starts.
#pragma once

#include "base/error.h"
#include "runtime/rank.h"

namespace m2 {

// One step of decode rows and one of a prompt for every size that the ops ask for. They write to
// the KV cache, which nobody has read by then.
Status warm_up(RankParts& parts, const OpsLimits& limits);

}  // namespace m2
