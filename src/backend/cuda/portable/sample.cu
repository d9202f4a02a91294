// One block a row, or a few at first. The best of a row come in rounds: each thread's largest
// element gives a threshold that at least as many elements reach as are wanted, what reaches it
// goes to shared memory and is sorted there. One round nearly always does; flat distributions take
// more, and stay exact.
#include "backend/cuda/portable/philox.cuh"
#include "backend/cuda/portable/sample.cuh"
#include "backend/cuda/portable/sample_view.cuh"

namespace m2::cuda {
namespace {

using namespace sample;

constexpr int32_t kBuffer = 2048, kRound = 256;
constexpr float kLeastTemperature = 1e-5f;  // as on the CPU: below it a temperature means greedy
constexpr uint16_t kMaxCount = 0x7fff;
// Rows that one block each would leave multiprocessors idle.
constexpr int32_t kMostClusterRows = 16;

struct Shared {
  Candidate candidates[kBuffer];
  float weights[kBuffer];  // exp(value - the largest)
  float largest[kThreads];
  double sums[kThreads / 32];
  Candidate best[kThreads / 32];
  int32_t count, found;
  double carry;
  bool done;
};

__device__ double block_sum(double x, Shared& s) {
  for (int32_t distance = 16; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, distance);
  }
  if (threadIdx.x % 32 == 0) s.sums[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
  for (int32_t i = 0; i < kThreads / 32; ++i) sum += s.sums[i];
  __syncthreads();
  return sum;
}

__device__ double exponentials(const View& view, float largest, Shared& s) {
  double sum = 0;
  view.each([&](float x, int32_t) { sum += expf(x - largest); });
  return block_sum(sum, s);
}

// Falling order; `size` is a power of two.
template <typename T, typename Before>
__device__ void sort(T* items, int32_t size, Before before_) {
  for (int32_t width = 2; width <= size; width *= 2) {
    for (int32_t distance = width / 2; distance > 0; distance /= 2) {
      for (int32_t i = threadIdx.x; i < size; i += kThreads) {
        const int32_t other = i ^ distance;
        if (other <= i) continue;
        const bool up = (i & width) == 0;
        const T a = items[i], b = items[other];
        if (up ? before_(b, a) : before_(a, b)) items[i] = b, items[other] = a;
      }
      __syncthreads();
    }
  }
}

// Puts those that reach `threshold` into the buffer; s.count tells how many there are, also beyond
// the buffer.
__device__ void gather(const View& view, const Candidate& after, float threshold, Shared& s) {
  __syncthreads();  // the last count was read
  if (threadIdx.x == 0) s.count = 0;
  __syncthreads();
  view.each([&](float x, int32_t i) {
    const Candidate c{x, i};
    if (x == kNone || x < threshold || !before(after, c)) return;
    const int32_t at = atomicAdd(&s.count, 1);
    if (at < kBuffer) s.candidates[at] = c;
  });
  __syncthreads();
}

// More elements than the buffer holds are equal: the first of them by id.
__device__ void gather_equal(const View& view, const Candidate& after, float value, Shared& s) {
  __syncthreads();  // the last count was read
  if (threadIdx.x == 0) s.count = 0;
  __syncthreads();
  for (int32_t begin = 0; begin < view.size && s.count < kBuffer; begin += kThreads) {
    const int32_t i = begin + threadIdx.x;
    const bool equal = i < view.size && view.at(i) == value && before(after, {value, i});
    const unsigned lanes = __ballot_sync(kAllLanes, equal);
    if (threadIdx.x % 32 == 0) s.best[threadIdx.x / 32].id = __popc(lanes);
    __syncthreads();
    int32_t at = s.count + __popc(lanes & ((1u << threadIdx.x % 32) - 1));
    for (int32_t w = 0; w < static_cast<int32_t>(threadIdx.x) / 32; ++w) at += s.best[w].id;
    if (equal && at < kBuffer) s.candidates[at] = {value, i};
    int32_t total = s.count;
    for (int32_t w = 0; w < kThreads / 32; ++w) total += s.best[w].id;
    __syncthreads();
    if (threadIdx.x == 0) s.count = min(total, kBuffer);
    __syncthreads();
  }
}

// Fills the buffer with the best elements after `after`, best first: at least one while there are
// any, and `wanted` in all but odd cases. Returns how many.
__device__ int32_t next_best(const View& view, const Candidate& after, int32_t wanted, Shared& s) {
  float own = kNone;
  view.each([&](float x, int32_t i) {
    if (x > own && before(after, {x, i})) own = x;
  });
  s.largest[threadIdx.x] = own;
  __syncthreads();
  sort(s.largest, kThreads, [](float a, float b) { return a > b; });
  if (s.largest[0] == kNone) return 0;
  for (int32_t rank = min(wanted, kRound);; rank /= 4) {
    const float threshold = s.largest[max(rank, 1) - 1];
    gather(view, after, threshold, s);
    if (s.count <= kBuffer) break;
    if (rank <= 1) {
      gather_equal(view, after, threshold, s);
      break;
    }
  }
  const int32_t count = s.count;
  int32_t size = 2;
  while (size < count) size *= 2;
  for (int32_t i = count + threadIdx.x; i < size; i += kThreads)
    s.candidates[i] = {kNone, INT32_MAX};
  __syncthreads();
  sort(s.candidates, size, [](const Candidate& a, const Candidate& b) { return before(a, b); });
  return count;
}

// The best of a row in order, refetched from the start when a later walk needs them again.
struct Best {
  const View& view;
  Shared& s;
  int32_t limit;       // at most so many
  float largest;       // of all: weights are relative to it
  int32_t held = 0;    // in the buffer
  int32_t begin = -1;  // the rank of the buffer's first

  // Calls visit(weight, candidate) on thread 0 for the best `limit`, best first, until it returns
  // false. Every thread must call.
  template <typename Visit>
  __device__ void walk(Visit visit) {
    Candidate after{INFINITY, -1};
    for (int32_t rank = 0; rank < limit;) {
      if (begin != rank || held == 0) {
        held = next_best(view, after, limit - rank, s);
        begin = rank;
        for (int32_t i = threadIdx.x; i < held; i += kThreads) {
          s.weights[i] = expf(s.candidates[i].value - largest);
        }
        __syncthreads();
      }
      if (held == 0) return;
      const int32_t count = min(held, limit - rank);
      if (threadIdx.x == 0) {
        s.done = false;
        for (int32_t i = 0; i < count && !s.done; ++i)
          s.done = !visit(s.weights[i], s.candidates[i]);
      }
      __syncthreads();
      const bool done = s.done;
      after = s.candidates[held - 1];
      rank += held;
      __syncthreads();
      if (done) return;
    }
  }
};

// The first id, in order of ids, where the running sum of weights passes `left`; -1: none.
__device__ int32_t walk_by_id(const View& view, float largest, double uniform, Shared& s) {
  // Stretches of consecutive ids, so that the running sum is the same whoever looks.
  const int32_t stretch = divide_up(view.size, kThreads);
  const int32_t begin = min(view.size, static_cast<int32_t>(threadIdx.x) * stretch);
  const int32_t end = min(view.size, begin + stretch);
  double own = 0;
  for (int32_t i = begin; i < end; ++i) own += expf(view.at(i) - largest);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double running = own;
  for (int32_t distance = 1; distance < 32; distance *= 2) {
    const double lower = __shfl_up_sync(kAllLanes, running, distance);
    if (lane >= distance) running += lower;
  }
  if (lane == 31) s.sums[warp] = running;
  if (threadIdx.x == 0) s.found = INT32_MAX;
  __syncthreads();
  double total = 0, lower = 0;
  for (int32_t i = 0; i < kThreads / 32; ++i) {
    if (i < warp) lower += s.sums[i];
    total += s.sums[i];
  }
  const double target = uniform * total;
  if (lower + running > target && end > begin) atomicMin(&s.found, begin);
  __syncthreads();
  const int32_t found = s.found;
  if (found == begin && end > begin) {
    double left = target - (lower + running - own);
    int32_t token = end - 1;
    for (int32_t i = begin; i < end; ++i) {
      left -= expf(view.at(i) - largest);
      if (left < 0) {
        token = i;
        break;
      }
    }
    s.count = token;
  }
  __syncthreads();
  const int32_t token = found == INT32_MAX ? -1 : s.count;
  __syncthreads();
  return token;
}

__device__ bool has_edits(const SampleRow& r) {
  return r.mask_begin >= 0 || r.bias_count > 0 || r.penalise;
}

// Masks, bias and penalties, where the row has any: they go to `work`.
__device__ const float* edited(const SampleArgs& a, const SampleRow& r, const float* raw,
                               float* work) {
  if (!has_edits(r)) return raw;
  const auto* mask = reinterpret_cast<const uint32_t*>(a.ints + r.mask_begin);
  for (int32_t i = threadIdx.x; i < a.real_vocab; i += kThreads) {
    float x = isnan(raw[i]) ? kNone : fminf(raw[i], kLargestLogit);
    if (r.mask_begin >= 0 && (mask[i / 32] >> i % 32 & 1u) == 0) x = kNone;
    work[i] = x;
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < r.bias_count; i += kThreads) {
    const int32_t id = a.ints[r.bias_begin + i];
    if (id >= 0 && id < a.real_vocab) atomicAdd(work + id, a.floats[r.bias_begin + i]);
  }
  __syncthreads();
  if (!r.penalise) return work;
  const uint16_t* counts = a.counts + int64_t{r.slot} * a.vocab;
  for (int32_t i = threadIdx.x; i < a.real_vocab; i += kThreads) {
    if (counts[i] == 0) continue;
    float x = work[i];
    x = x > 0 ? x / r.repetition_penalty : x * r.repetition_penalty;
    const int32_t said = counts[i] & kMaxCount;
    if (said > 0) x -= r.frequency_penalty * static_cast<float>(said) + r.presence_penalty;
    work[i] = x;
  }
  __syncthreads();
  return work;
}

// `best` is the largest element of `view`.
__device__ int32_t draw(const SampleArgs& a, const SampleRow& r, const float* raw, View view,
                        const Candidate& best, Shared& s) {
  if (best.id < 0) {  // nothing may be said, or all is NaN: a reply must end
    return max(0, block_best({raw, a.real_vocab, 1.0f, kNone}, s.best).id);
  }
  if (r.temperature < kLeastTemperature) return best.id;
  view.factor = 1.0f / r.temperature;
  const float largest = best.value * view.factor;
  if (r.min_p > 0) view.least = largest + logf(r.min_p);
  const double uniform = philox_uniform(r.seed, static_cast<uint64_t>(r.position));
  const bool top_k = r.top_k > 0 && r.top_k < a.real_vocab;
  if (!top_k && !(r.top_p < 1)) {
    const int32_t token = walk_by_id(view, largest, uniform, s);
    return token < 0 ? best.id : token;
  }
  Best sorted{view, s, top_k ? r.top_k : a.real_vocab, largest};
  double total = 0;
  if (top_k) {
    if (r.top_p < 1) {
      sorted.walk([&](float weight, const Candidate&) {
        total += weight;
        return true;
      });
    }
  } else {
    total = exponentials(view, largest, s);
  }
  // Thread 0 knows these; the walks tell the others when to stop.
  double kept = 0;
  int32_t count = 0;
  sorted.walk([&](float weight, const Candidate&) {
    if (r.top_p < 1 && count > 0 && !(kept < r.top_p * total)) return false;
    kept += weight;
    ++count;
    return true;
  });
  double left = uniform * kept;
  int32_t token = best.id;
  sorted.walk([&](float weight, const Candidate& c) {
    left -= weight;
    token = c.id;  // the last one when rounding left a little over
    return left >= 0 && --count > 0;
  });
  if (threadIdx.x == 0) s.found = token;
  __syncthreads();
  token = s.found;
  __syncthreads();
  return token;
}

__device__ void logprobs(const SampleArgs& a, const SampleRow& r, const float* raw, int32_t token,
                         SampleResult& result, Shared& s) {
  const View view{raw, a.real_vocab, 1.0f, kNone};
  const Candidate best = block_best(view, s.best);
  const float largest = best.id < 0 ? 0.0f : best.value;
  const double sum = exponentials(view, largest, s);
  const float normaliser = best.id < 0 ? 0.0f : largest + static_cast<float>(log(sum));
  const auto logprob_of = [&](int32_t id) {
    return id >= 0 && id < a.real_vocab ? view.at(id) - normaliser : kNone;
  };
  result.logprob = logprob_of(token);
  const float own = result.logprob == kNone ? kNone : view.at(token);
  int32_t higher = 0;
  view.each([&](float x, int32_t) { higher += x > own ? 1 : 0; });
  result.rank = 1 + static_cast<int32_t>(block_sum(static_cast<double>(higher), s));

  int32_t* ids = a.top_ids + r.top_begin;
  float* values = a.top_logprobs + r.top_begin;
  for (int32_t i = threadIdx.x; i < r.num_top; i += kThreads) ids[i] = 0, values[i] = kNone;
  __syncthreads();
  Best sorted{view, s, r.num_top, largest};
  int32_t at = 0;
  sorted.walk([&](float, const Candidate& c) {
    ids[at] = c.id;
    values[at++] = c.value - normaliser;
    return true;
  });
  for (int32_t i = threadIdx.x; i < r.logprob_ids_count; i += kThreads) {
    const int32_t id = a.ints[r.logprob_ids_begin + i];
    ids[r.num_top + i] = id;
    values[r.num_top + i] = logprob_of(id);
  }
}

// The first block of a cluster samples; the others help it to find the row's largest logit.
template <int32_t kCluster>
__device__ void sample_row(const SampleArgs& a, Shared& s, ClusterBest& cluster) {
  const SampleRow r = a.rows[blockIdx.x];
  const auto rank = static_cast<int32_t>(blockIdx.z);
  const float* raw = a.logits + int64_t{blockIdx.x} * a.stride;
  const bool together = kCluster > 1 && r.draw && !has_edits(r);
  if (rank > 0 && !together) return;
  SampleResult result{r.target, 0, 0.0f};
  if (r.draw) {
    float* work = a.work + int64_t{blockIdx.x} * a.stride;
    const View view{edited(a, r, raw, work), a.real_vocab, 1.0f, kNone};
    Candidate best;
    if constexpr (kCluster > 1) {
      if (together) best = cluster_best(view, rank, cluster, s.best);
      if (rank > 0) return;
    }
    if (!together) best = block_best(view, s.best);
    result.token = draw(a, r, raw, view, best, s);
  }
  if (r.num_top >= 0) logprobs(a, r, raw, result.token, result, s);
  if (threadIdx.x == 0) {
    a.results[blockIdx.x] = result;
    if (r.draw) a.last_token[r.slot] = result.token;
  }
}

template <int32_t kCluster>
__global__ void __launch_bounds__(kThreads) sample_kernel(SampleArgs a, Mark mark) {
  __shared__ Shared s;
  __shared__ ClusterBest cluster;
  if constexpr (kCluster == 1 || kBulkCopies) {
    if constexpr (kCluster > 1) expect_from_cluster(&cluster.full, sizeof(cluster.parts));
    wait_for_previous();
    start_next(mark);
    sample_row<kCluster>(a, s, cluster);
  }
}

}  // namespace

void launch_sample(const SampleArgs& a, const Queue& queue) {
  if (a.num_rows == 0) return;
  if (queue.overlap && a.num_rows <= kMostClusterRows) {
    enqueue(sample_kernel<kSampleCluster>, dim3(a.num_rows, 1, kSampleCluster), kThreads, 0, queue,
            a, kSampleCluster);
  } else {
    enqueue(sample_kernel<1>, a.num_rows, kThreads, 0, queue, a);
  }
}

}  // namespace m2::cuda
