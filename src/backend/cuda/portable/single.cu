// A block takes tiles of twice eight rows of weights (single_layout.cuh), which come by bulk copies
// into a ring of a few tiles, scales beside them; eight warps share the columns. One block fits a
// multiprocessor, beside one of the next kernel, which fills its own ring meanwhile: registers and
// shared memory are counted for that.
//
// Once there are inputs, no warp but the one that fills the ring waits for another before the sums
// of several units are made.
#include "backend/cuda/portable/block_choice.cuh"
#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/single.cuh"
#include "backend/cuda/portable/single_norm.cuh"
#include "backend/cuda/portable/single_product.cuh"
#include "backend/cuda/portable/single_ring.cuh"
#include "backend/cuda/portable/single_token.cuh"

namespace m2::cuda {
namespace {

using namespace single;

// Of one token, registers leave room for as many warps of the next kernel.
template <LinearKind kKind, bool kFp8, Form kForm, int32_t kColumns>
__global__ void __launch_bounds__(kThreads, kForm == Form::kOne && kFp8 ? 2 : 1)
    single_kernel(SingleArgs a, Mark mark) {
#if __CUDA_ARCH__ >= 900
  using L = Layout<kKind, kFp8, kColumns>;
  constexpr bool kExperts = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr bool kOne = kForm == Form::kOne;
  using Tile = TokenTile<L::kHalves ? kColumns / 2 : kColumns>;
  constexpr bool kOneToken = kOne && kFp8 && Tile::kServes;
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);
  __shared__ uint64_t full[kMostStages], empty[kMostStages], x_full[kMostInputs];
  static_assert(kMostSingleExperts <= kThreads);
  [[maybe_unused]] __shared__ BlockChoice<kWarps, kMostSingleChoices> choice;
  __shared__ int32_t experts[kMostSingleChoices];
  __shared__ float weights[kMostSingleChoices];
  const L l(a, kForm);
  auto* x = reinterpret_cast<uint4*>(memory + l.stages * l.stage_bytes());
  // [units kept][warps]: of kOne 16 rows, otherwise [4][32] as the tensor core leaves them
  auto* sums = reinterpret_cast<float*>(memory + l.stages * l.stage_bytes() + l.x_bytes());
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const auto begin = static_cast<int32_t>(blockIdx.x * uint32_t(l.units) / gridDim.x);
  const auto end = static_cast<int32_t>((blockIdx.x + 1) * uint32_t(l.units) / gridDim.x);
  // The last warp, which has least to sum up, also fills the ring.
  const bool fills = warp == kWarps - 1;
  Ring<kKind, L> ring{a, l, memory, full, empty, experts, begin, end};
  if (threadIdx.x == kThreads - 32) {
    for (int32_t i = 0; i < l.stages; ++i) {
      init_barrier(&full[i], 1);
      init_barrier(&empty[i], kThreads);
    }
    for (int32_t i = 0; i < l.inputs(); ++i) init_barrier(&x_full[i], 1);
    fence_barriers();
    if constexpr (!kExperts) ring.fill();
  }
  [[maybe_unused]] float bias = 0;
  [[maybe_unused]] const auto choose = [&] {
    const auto logit = [&] { return *static_cast<const volatile float*>(a.logits + threadIdx.x); };
    choice.choose(logit, bias, a.num_experts, a.count, experts);
    if constexpr (kKind == LinearKind::kGateUp) {
      ring.choice = begin / (a.linear.weights.rows / 16);
      ring.first = begin % (a.linear.weights.rows / 16);
    } else if (static_cast<int32_t>(threadIdx.x) < a.count) {
      weights[threadIdx.x] = choice.weight(threadIdx.x, a.count);
    }
    if (threadIdx.x == kThreads - 32) ring.fill();
    __syncwarp();
  };
  if constexpr (kExperts) {
    bias = load_ahead(a.bias + min(static_cast<int32_t>(threadIdx.x), a.num_experts - 1));
  }
  // The logits are older than the kernel ahead of kDown: that one waited for them.
  if constexpr (kKind == LinearKind::kDown) choose();
  const bool normed = kKind == LinearKind::kStore && kOne && a.norm != nullptr;
  [[maybe_unused]] NormWeights norm_weights;
  if (normed) norm_weights.load(a.norm, l.set_columns / 8);
  __syncthreads();
  // kDown reads the logits before its wait, and so kGateUp waits before it lets that start. What
  // follows the others reads weights, the step's inputs and keys and values of earlier steps at
  // most; what follows lm_head, what the host wrote.
  constexpr bool kEarly = kFp8 && kKind != LinearKind::kGateUp;
  if constexpr (kEarly) let_next_start();
  wait_for_previous();
  if constexpr (!kEarly) let_next_start();
  leave_mark(mark);
  if (!normed && threadIdx.x == 0) fetch_inputs<kForm>(a, l, x, x_full);
  if constexpr (kKind == LinearKind::kGateUp) choose();
  // Where a thread's rows of the first units are added to: on its way beside the inputs.
  const int32_t tokens = a.linear.tokens;
  [[maybe_unused]] const auto added_to = [&](const Output& at) {
    return static_cast<bf16_t*>(a.linear.out) + int64_t{at.token} * a.linear.out_stride +
           at.unit * 8 + at.row;
  };
  [[maybe_unused]] bf16_t before = 0;
  constexpr bool kAdds = kKind == LinearKind::kAdd || kKind == LinearKind::kDown;
  if constexpr (kAdds) {
    const Output at(kForm, threadIdx.x, begin);
    if (at.unit < end && at.token < tokens) before = *added_to(at);
  }
  if (normed) {
    stage_normed(a, norm_weights, l.set_columns / 8, x);
  } else if (kKind != LinearKind::kDown) {
    wait_barrier(&x_full[0], 0);
  }

  // The row of x of a lane's column of the tensor core: of the first experts, of kDown.
  int32_t row = -1;
  if constexpr (kOne) {
    if (g % 4 < (kOneToken && Tile::kSwapped ? 2 : 1) && (L::kTwice || g < 4)) row = g / 4;
  } else if constexpr (L::kTwice && kForm == Form::kMany) {
    if (g % 4 < tokens) row = g / 4 * tokens + g % 4;
  } else {
    if (g < tokens) row = g;
  }
  int32_t stage = 0, round = 0;
  // By every lane that has read the stage. Whoever fills the ring waits for the others.
  const auto give_back = [&] {
    arrive(&empty[stage]);
    if (lane == 0 && fills && ring.unit < end) {
      wait_barrier(&empty[stage], round & 1);
      ring.fetch(stage);
    }
    __syncwarp();
  };
#pragma unroll 1
  for (int32_t first_kept = begin; first_kept < end; first_kept += l.kept) {
    const int32_t last_kept = min(end, first_kept + l.kept);
#pragma unroll 1
    for (int32_t unit = first_kept; unit < last_kept; ++unit) {
      float sum[4] = {};
#pragma unroll 1
      for (int32_t tile = 0; tile < l.tiles_a_unit; ++tile) {
        const uint4* input =
            row < 0 ? nullptr : x + (row + 2 * tile) * l.x_stride + (kFp8 ? 2 : 1) * t;
        if (kKind == LinearKind::kDown && unit == begin) wait_barrier(&x_full[tile], 0);
        wait_barrier(&full[stage], round & 1);
        float weight_low = 1, weight_high = 1;
        if constexpr (kKind == LinearKind::kDown) {
          weight_low = weights[2 * tile] / kActivatedScale;
          weight_high = weights[2 * tile + 1] / kActivatedScale;
        }
        const unsigned char* from = memory + stage * l.stage_bytes();
        if constexpr (kOneToken) {
          Tile::multiply(l, from, input, weight_low, weight_high, sum, give_back);
        } else {
          multiply_tile<kForm>(l, from, input, tokens, weight_low, weight_high, sum);
          give_back();
        }
        if (++stage == l.stages) stage = 0, ++round;
      }
      float* place = sums + (unit - first_kept) * l.unit_sums + warp * l.warp_sums;
      if constexpr (kOne) {
        if (t == 0) place[g] = sum[0];
        if (t == (L::kTwice ? 2 : 0)) place[8 + g] = sum[1];
      } else {
#pragma unroll
        for (int32_t i = 0; i < 4; ++i) place[i * 32 + lane] = sum[i];
      }
    }
    __syncthreads();
    const int32_t outputs = (last_kept - first_kept) * Output::a_unit(kForm);
#pragma unroll 1
    for (int32_t i = threadIdx.x; i - lane < outputs; i += kThreads) {
      const Output at(kForm, i, first_kept);
      const bool here = i < outputs && at.token < tokens;
      float low = 0, high = 0;
      if (here) {
        const float* one = sums + (at.unit - first_kept) * l.unit_sums + at.low(kForm);
        const int32_t other = at.high(kForm, L::kTwice) - at.low(kForm);
#pragma unroll
        for (int32_t w = 0; w < kWarps; ++w) {
          low += one[w * l.warp_sums];
          high += one[w * l.warp_sums + other];
        }
        if constexpr (kAdds) {
          const bool fetched = i == static_cast<int32_t>(threadIdx.x) && first_kept == begin;
          bf16_t* to = added_to(at);
          *to = to_bf16(bf16_low(fetched ? before : *to) + low + high);
        } else if constexpr (L::kHalves) {
          static_cast<float*>(
              a.linear.out)[int64_t{at.token} * a.linear.out_stride + at.unit * 8 + at.row] =
              low + high;
        } else if constexpr (kKind == LinearKind::kGateUp) {
          const int32_t tiles = a.linear.weights.rows / 16;
          put<kKind>(a.linear, at.unit / tiles, at.unit % tiles * 16 + at.row, low, high);
        } else {
          put<kKind>(a.linear, at.token, at.unit * 16 + at.row, low, high);
        }
      }
      if (kKind == LinearKind::kStore && kFp8 && a.squares != nullptr) {
        // Of the unit's 16 rows, by token.
        float own = low * low + high * high;
        constexpr int32_t kNext = kOne ? 1 : 4;  // lanes from a row to the next
        own += __shfl_xor_sync(kAllLanes, own, kNext);
        own += __shfl_xor_sync(kAllLanes, own, 2 * kNext);
        own += __shfl_xor_sync(kAllLanes, own, 4 * kNext);
        if (here && at.row == 0) a.squares[at.token * l.units + at.unit] = own;
      }
    }
    if (last_kept < end) __syncthreads();
  }
#endif
}

template <LinearKind kKind, bool kFp8, Form kForm, int32_t kColumns>
void launch(const SingleArgs& a, const Queue& queue) {
  const Layout<kKind, kFp8, kColumns> l(a, kForm);
  const auto kernel = single_kernel<kKind, kFp8, kForm, kColumns>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(l.shared_bytes()));
  prefer_shared(kernel);
  enqueue(kernel, min(l.units, a.linear.multiprocessors), kThreads, l.shared_bytes(), queue, a);
}

// The model's own widths are known to the compiler.
template <LinearKind kKind, bool kFp8, Form kForm>
void launch_columns(const SingleArgs& a, const Queue& queue) {
  constexpr int32_t kKnown = kKind == LinearKind::kAdd    ? 6144
                             : kKind == LinearKind::kDown ? 1536
                                                          : 3072;
  a.linear.weights.columns == kKnown ? launch<kKind, kFp8, kForm, kKnown>(a, queue)
                                     : launch<kKind, kFp8, kForm, 0>(a, queue);
}

template <LinearKind kKind, bool kFp8>
void launch_halves(const SingleArgs& a, const Queue& queue) {
  const int32_t tokens = a.linear.tokens;
  tokens == 1   ? launch_columns<kKind, kFp8, Form::kOne>(a, queue)
  : tokens <= 4 ? launch_columns<kKind, kFp8, Form::kMany>(a, queue)
                : launch_columns<kKind, kFp8, Form::kBoth>(a, queue);
}

template <LinearKind kKind, bool kFp8 = true>
bool fits(const SingleArgs& a) {
  const Layout<kKind, kFp8> l(a, a.linear.tokens == 1 ? Form::kOne : Form::kMany);
  return l.set_columns % 256 == 0 && a.linear.weights.rows % (kFp8 ? 16 : 8) == 0 &&
         l.tile_bytes <= kMostTileBytes && l.shared_bytes() <= kMostShared;
}

}  // namespace

bool single_serves(const SingleArgs& a, const Queue& queue) {
  const LinearArgs& linear = a.linear;
  const bool experts = linear.kind == LinearKind::kGateUp || linear.kind == LinearKind::kDown;
  if (experts && (linear.tokens != 1 || a.num_experts > kMostSingleExperts ||
                  a.count > kMostSingleChoices || a.count % 2 != 0)) {
    return false;
  }
  // Copies are of whole vectors; rows of a tile have one row of scales.
  if (!queue.overlap || linear.tokens > kMostSingleTokens ||
      queue.shared_bytes < least_shared_bytes(90)) {
    return false;
  }
  if (!linear.weights.fp8) {
    return linear.kind == LinearKind::kStore && fits<LinearKind::kStore, false>(a);
  }
  switch (linear.kind) {
    case LinearKind::kStore:
      return fits<LinearKind::kStore>(a);
    case LinearKind::kAdd:
      return fits<LinearKind::kAdd>(a);
    case LinearKind::kGateUp:
      return fits<LinearKind::kGateUp>(a);
    case LinearKind::kDown:
      return fits<LinearKind::kDown>(a);
  }
  return false;
}

void launch_single(const SingleArgs& args, const Queue& queue) {
  switch (args.linear.kind) {
    case LinearKind::kStore:
      if (!args.linear.weights.fp8) return launch_halves<LinearKind::kStore, false>(args, queue);
      return args.linear.tokens == 1
                 ? launch_columns<LinearKind::kStore, true, Form::kOne>(args, queue)
                 : launch_columns<LinearKind::kStore, true, Form::kMany>(args, queue);
    case LinearKind::kAdd:
      return launch_halves<LinearKind::kAdd, true>(args, queue);
    case LinearKind::kGateUp:
      return launch_columns<LinearKind::kGateUp, true, Form::kOne>(args, queue);
    case LinearKind::kDown:
      return launch_columns<LinearKind::kDown, true, Form::kOne>(args, queue);
  }
}

}  // namespace m2::cuda
