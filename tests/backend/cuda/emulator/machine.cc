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

constexpr uint32_t kMostUnderWay = 3;    // blocks
constexpr uint32_t kBlockChange = 2048;  // one in so many changes of threads
constexpr uint32_t kLanding = 8;         // likewise

uint32_t seed() {
  const char* text = std::getenv("M2_EMULATOR_SEED");
  const uint32_t seed = text == nullptr ? 1 : static_cast<uint32_t>(std::atoi(text));
  std::printf("emulated GPU: M2_EMULATOR_SEED=%u\n", seed);
  return seed;
}

std::vector<uint3> indices(dim3 grid) {
  std::vector<uint3> all;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) all.push_back({x, y, z});
    }
  }
  return all;
}

}  // namespace

Machine the_machine(seed());

void fault(const std::string& what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what.c_str());
  std::abort();
}

void Machine::run(const Launch& launch) {
  const std::scoped_lock lock(one_at_a_time_);
  launch_ = &launch;
  gridDim = launch.grid;
  blockDim = launch.block;
  std::vector<uint3> to_come = indices(launch.grid);
  std::shuffle(to_come.begin(), to_come.end(), random_);
  const uint32_t room = 1 + random(kMostUnderWay);
  while (!to_come.empty() || !under_way_.empty()) {
    while (!to_come.empty() && under_way_.size() < room) {
      under_way_.push_back(begin(launch, to_come.back()));
      to_come.pop_back();
    }
    auto& block = under_way_[random(static_cast<uint32_t>(under_way_.size()))];
    resume(*block);
    if (!block->finished()) continue;
    idle_.insert(idle_.end(), block->threads().begin(), block->threads().end());
    std::swap(block, under_way_.back());
    under_way_.pop_back();
  }
}

std::unique_ptr<Block> Machine::begin(const Launch& launch, uint3 index) {
  const size_t count = size_t{launch.block.x} * launch.block.y * launch.block.z;
  std::vector<Thread*> threads;
  while (threads.size() < count) {
    if (idle_.empty()) {
      made_.push_back(std::make_unique<Thread>(&Machine::run_threads));
      idle_.push_back(made_.back().get());
    }
    threads.push_back(idle_.back());
    idle_.pop_back();
  }
  return std::make_unique<Block>(*this, index, launch.block, launch.shared_bytes,
                                 std::move(threads));
}

// Copies land meanwhile, and have to where all threads wait.
bool Machine::can_run(Block& block) {
  if (chance(kLanding)) block.copies().land_one(random_());
  while (!block.can_run() && block.copies().land_one(random_())) {
  }
  return block.can_run();
}

// Until all its threads wait for something, or others' turn has come.
void Machine::resume(Block& block) {
  block.memory().enter();
  if (can_run(block)) {
    switch_from(main_, block.take(random_()));
  } else if (std::none_of(under_way_.begin(), under_way_.end(), [](const auto& other) {
               return other->can_run() || other->copies().any();
             })) {
    stuck(*launch_);
  }
}

void Machine::suspend() {
  Thread& self = *current_;
  Block& block = *self.block;
  if (!can_run(block) || chance(kBlockChange)) {
    self.fiber.switch_to(main_);
    return;
  }
  Thread& next = block.take(random_());
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
    the_machine.launch_->kernel();
    self.block->end(self);
    the_machine.suspend();
  }
}

void Machine::stuck(const Launch& launch) const {
  std::string text;
  for (const auto& block : under_way_) {
    text += fmt::format("; block ({}, {}, {}): {}", block->index.x, block->index.y, block->index.z,
                        block->waiting());
  }
  fault("a kernel of {} x {} x {} blocks of {} threads hangs{}", launch.grid.x, launch.grid.y,
        launch.grid.z, launch.block.x, text);
}

}  // namespace m2::emulator
