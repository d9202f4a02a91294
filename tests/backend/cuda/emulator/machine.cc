#include "tests/backend/cuda/emulator/machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tests/backend/cuda/emulator/fault.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace m2::emulator {
namespace {

constexpr uint32_t kMostUnderWay = 3;    // blocks, or a cluster
constexpr uint32_t kGivingWay = 8;       // one in so many chances to
constexpr uint32_t kMostEarly = 2;       // of those, blocks or clusters of the next kernel
constexpr uint32_t kEarlyBegin = 2;      // one in so many changes of blocks begins one
constexpr uint32_t kBlockChange = 2048;  // one in so many changes of threads

uint32_t seed() {
  const char* text = std::getenv("M2_EMULATOR_SEED");
  const uint32_t seed = text == nullptr ? 1 : static_cast<uint32_t>(std::atoi(text));
  std::printf("emulated GPU: M2_EMULATOR_SEED=%u\n", seed);
  return seed;
}

}  // namespace

Machine the_machine(seed());

void fault(const std::string& what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what.c_str());
  std::abort();
}

void Machine::run(std::span<const Launch* const> kernels) {
  std::deque<std::unique_ptr<Grid>> grids;  // the one that is run, and later ones begun early
  for (; !kernels.empty(); kernels = kernels.subspan(1)) {
    if (grids.empty()) grids.push_back(std::make_unique<Grid>(*kernels.front()));
    Grid& grid = *grids.front();
    end_previous(grid);
    const size_t room = 1 + chance_.below(kMostUnderWay);
    while (grid.unfinished > 0) {
      if (chance_.one_in(kEarlyBegin)) begin_early(kernels.subspan(1), grids);
      const auto others = std::count_if(under_way_.begin(), under_way_.end(),
                                        [&](const auto& block) { return &block->grid != &grid; });
      while (!grid.to_come.empty() && under_way_.size() < room + others) begin_cluster(grid);
      auto& block = pick();
      resume(*block);
      if (block->finished()) retire(block);
    }
    grids.pop_front();
  }
}

// A slow one comes where no other can run.
std::unique_ptr<Block>& Machine::pick() {
  const auto preferred = [](const auto& block) { return !block->is_slow() && block->can_run(); };
  for (;;) {
    auto& block = under_way_[chance_.below(static_cast<uint32_t>(under_way_.size()))];
    if (preferred(block) || std::none_of(under_way_.begin(), under_way_.end(), preferred)) {
      return block;
    }
  }
}

void Machine::retire(std::unique_ptr<Block>& block) {
  --block->grid.unfinished;
  idle_.insert(idle_.end(), block->threads().begin(), block->threads().end());
  std::swap(block, under_way_.back());
  under_way_.pop_back();
}

// Blocks of the kernel that comes next may begin at any time: those of the one that is run could
// all have let them, and stand still. Blocks of later ones may where those ahead of them let them
// before they waited.
void Machine::begin_early(std::span<const Launch* const> coming,
                          std::deque<std::unique_ptr<Grid>>& grids) {
  for (size_t i = 0; i < coming.size() && coming[i]->overlap; ++i) {
    if (i > 0 && !grids[i]->lets_next) return;
    if (grids.size() == i + 1) {
      grids.push_back(std::make_unique<Grid>(*coming[i]));
      grids.back()->early = chance_.below(kMostEarly + 1);
    }
    Grid& grid = *grids[i + 1];
    if (grid.early == 0 || grid.to_come.empty()) continue;
    --grid.early;
    begin_cluster(grid);
  }
}

void Machine::begin_cluster(Grid& grid) {
  std::swap(grid.to_come[chance_.below(static_cast<uint32_t>(grid.to_come.size()))],
            grid.to_come.back());
  const uint3 first = grid.to_come.back();
  grid.to_come.pop_back();
  const dim3 size = grid.launch.cluster, shape = grid.launch.threads;
  const dim3 end{first.x + size.x, first.y + size.y, first.z + size.z};
  const auto cluster = std::make_shared<Cluster>(*this);
  for (const uint3 index : indices(first, end, {1, 1, 1})) {
    auto threads = take_threads(size_t{shape.x} * shape.y * shape.z);
    under_way_.push_back(std::make_unique<Block>(*this, grid, cluster, index, std::move(threads)));
  }
}

std::vector<Thread*> Machine::take_threads(size_t count) {
  std::vector<Thread*> threads;
  while (threads.size() < count) {
    if (idle_.empty()) {
      made_.push_back(std::make_unique<Thread>(&Machine::run_threads));
      idle_.push_back(made_.back().get());
    }
    threads.push_back(idle_.back());
    idle_.pop_back();
  }
  return threads;
}

void Machine::end_previous(Grid& grid) {
  grid.previous_ended = true;
  for (Thread* thread : grid.waiting) thread->block->make_ready(*thread);
  grid.waiting.clear();
}

void Machine::may_give_way() {
  if (!chance_.one_in(kGivingWay)) return;
  chance_.one_in(2) ? current_->block->make_last(*current_)
                    : current_->block->make_ready(*current_);
  suspend();
}

void Machine::give_way_to_blocks() {
  current_->block->make_ready(*current_);
  current_->fiber.switch_to(main_);
}

void Machine::wait_for_previous() {
  may_give_way();
  Grid& grid = current_->block->grid;
  if (grid.previous_ended) return;
  current_->waits_for = "the kernel ahead";
  grid.waiting.push_back(current_);
  suspend();
}

void Machine::let_next_start() { current_->block->grid.lets_next = true; }

// Copies land meanwhile, and have to where all threads wait.
bool Machine::can_run(Block& block) {
  block.may_land();
  while (!block.can_run() && block.copies().land_one(chance_.bits())) {
  }
  return block.can_run();
}

// Until all its threads wait for something, or others' turn has come.
void Machine::resume(Block& block) {
  block.memory().enter();
  gridDim = block.grid.launch.blocks;
  blockDim = block.grid.launch.threads;
  if (can_run(block)) {
    switch_from(main_, block.take());
  } else if (std::none_of(under_way_.begin(), under_way_.end(), [](const auto& other) {
               return other->can_run() || other->copies().any();
             })) {
    stuck();
  }
}

void Machine::suspend() {
  Thread& self = *current_;
  Block& block = *self.block;
  if (!can_run(block) || chance_.one_in(kBlockChange)) {
    self.fiber.switch_to(main_);
    return;
  }
  Thread& next = block.take();
  if (&next != &self) switch_from(self.fiber, next);
}

void Machine::switch_from(Fiber& fiber, Thread& to) {
  current_ = &to;
  threadIdx = to.index;
  blockIdx = to.block->index;
  fiber.switch_to(to.fiber);
}

void Machine::give_way() {
  current_->block->make_ready(*current_);
  suspend();
}

// A thread of one block after another.
void Machine::run_threads(void* thread) {
  auto& self = *static_cast<Thread*>(thread);
  for (;;) {
    self.block->grid.launch.kernel();
    self.block->end(self);
    the_machine.suspend();
  }
}

void Machine::stuck() const {
  std::string text = "a kernel hangs:";
  for (const auto& block : under_way_) {
    const auto [x, y, z] = block->index;
    const dim3& of = block->grid.launch.blocks;
    text += fmt::format(" block ({}, {}, {}) of {} x {} x {}: {};", x, y, z, of.x, of.y, of.z,
                        block->waiting());
  }
  fault(text);
}

}  // namespace m2::emulator
