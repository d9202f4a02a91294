#include "loader/pieces.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "loader/checkpoint.h"
#include "loader/dummy.h"
#include "tests/loader/test_files.h"

namespace m2 {
namespace {

// As a device's: what is put is staged, and copied from there.
class StagedBlock final : public WeightBlock {
 public:
  explicit StagedBlock(size_t bytes) : memory_(bytes, std::byte{0x5a}), times_(bytes) {}
  std::byte* base() override { return memory_.data(); }
  Status put(size_t offset, size_t bytes, const Fill& fill) override {
    EXPECT_LE(bytes, kMostPieceBytes);
    std::vector<std::byte> stage(bytes, std::byte{0xa5});
    M2_TRY(fill(stage.data()));
    std::lock_guard lock(mutex_);
    std::copy(stage.begin(), stage.end(), memory_.begin() + offset);
    for (size_t i = offset; i < offset + bytes; ++i) ++times_[i];
    return {};
  }
  Status finish() override { return {}; }
  // Of all bytes, those that were put more than once.
  size_t twice() const {
    return std::count_if(times_.begin(), times_.end(), [](int times) { return times > 1; });
  }
  const std::vector<std::byte>& bytes() const { return memory_; }
  bool put_at(size_t i) const { return times_[i] > 0; }

 private:
  std::mutex mutex_;
  std::vector<std::byte> memory_;
  std::vector<uint8_t> times_;
};

void expect_same(const StagedBlock& staged, const HostMemory& direct) {
  EXPECT_EQ(staged.twice(), 0u);
  size_t other = 0;
  for (size_t i = 0; i < direct.bytes(); ++i) {
    // Between tensors nothing is put.
    other += direct.data()[i] != (staged.put_at(i) ? staged.bytes()[i] : std::byte{0});
  }
  EXPECT_EQ(other, 0u);
}

TEST(PiecesTest, AStageGivesWhatMemoryGives) {
  const ModelConfig config = test::tiny_config();
  const test::TemporaryFolder folder;
  test::write_checkpoint(folder, test::tiny_checkpoint(config));
  const auto checkpoint = Checkpoint::open(folder.path(), config);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  for (int32_t rank = 0; rank < 2; ++rank) {
    const Shard shard = make_shard(config, {2, false}, rank).value();
    const size_t bytes = weights_bytes(config, shard);
    HostMemory direct(bytes);
    StagedBlock staged(bytes);
    ASSERT_TRUE(checkpoint->load(shard, 1, direct.data()));
    ASSERT_TRUE(checkpoint->load(shard, 3, staged));
    expect_same(staged, direct);
  }
}

// An embedding and experts that are cut into pieces: values do not depend on the cuts.
TEST(PiecesTest, LargeTensorsComeInPieces) {
  ModelConfig config = test::tiny_config();
  config.hidden_size = 1024;
  config.vocab_size = 9000;  // 18 MB of bf16
  config.num_layers = 1;
  const Shard shard = make_shard(config, {}, 0).value();
  const auto slices = tensor_slices(config, shard);
  EXPECT_GT(pieces_of(slices, config).size(), slices.size() + 2);
  const size_t bytes = weights_bytes(config, shard);
  StagedBlock staged(bytes);
  ASSERT_TRUE(fill_dummy(config, shard, 7, 2, staged));
  HostMemory direct(bytes);
  for (const TensorSlice& slice : slices) {  // whole
    fill_dummy_elements(slice, config.fp8(), 7, direct.data() + slice.offset);
    if (!has_scales(slice, config)) continue;
    fill_dummy_scales(slice, 7, reinterpret_cast<float*>(direct.data() + slice.scale_offset));
  }
  expect_same(staged, direct);
}

// A block that makes random matrices where they will be, element by element as random_runs.h says.
class RunsBlock final : public WeightBlock {
 public:
  explicit RunsBlock(size_t bytes) : memory_(bytes) {}
  std::byte* base() override { return memory_.data(); }
  Status put(size_t offset, size_t, const Fill& fill) override {
    return fill(memory_.data() + offset);
  }
  Result<bool> put_runs(size_t offset, const RandomRuns& runs) override {
    EXPECT_TRUE(runs.whole());
    std::byte* to = memory_.data() + offset;
    for (int64_t row = runs.row_begin; row < runs.row_begin + runs.row_count; ++row) {
      for (int64_t i = 0; i < runs.column_count; ++i, to += runs.element_bytes) {
        const int64_t element = row * runs.columns + runs.column_begin + i;
        const int64_t from =
            RandomRuns::place(runs.key, element / RandomRuns::kRun) + element % RandomRuns::kRun;
        std::copy_n(runs.pool.data() + from * runs.element_bytes, runs.element_bytes, to);
      }
    }
    bytes_made_ += runs.row_count * runs.column_count * runs.element_bytes;
    return true;
  }
  Status finish() override { return {}; }
  size_t bytes_made() const { return bytes_made_; }

 private:
  HostMemory memory_;
  std::atomic<size_t> bytes_made_ = 0;
};

TEST(PiecesTest, RunsGiveWhatIsFilledIn) {
  const ModelConfig config = test::tiny_config();
  for (const bool experts : {false, true}) {
    for (int32_t rank = 0; rank < 2; ++rank) {
      const Shard shard = make_shard(config, {2, experts}, rank).value();
      const size_t bytes = weights_bytes(config, shard);
      HostMemory direct(bytes);
      RunsBlock block(bytes);
      fill_dummy(config, shard, 7, 1, direct.data());
      ASSERT_TRUE(fill_dummy(config, shard, 7, 3, block));
      EXPECT_EQ(std::memcmp(block.base(), direct.data(), bytes), 0);
      EXPECT_GT(block.bytes_made(), bytes / 2);
    }
  }
}

TEST(PiecesTest, MatricesAreCutWhereTheirScalesAre) {
  TensorSlice slice;
  slice.name = "w";
  slice.rows = 40000, slice.row_begin = 64, slice.row_count = 39936;
  slice.columns = 3072, slice.column_begin = 192, slice.column_count = 1536;
  slice.offset = 512, slice.scale_offset = 1 << 30;
  int64_t row = 0;
  for (const TensorSlice& piece : pieces_of({slice}, ModelConfig{})) {
    EXPECT_EQ(piece.row_begin, 64 + row);
    EXPECT_EQ(row % 128, 0);
    EXPECT_EQ(piece.offset, 512u + row * 1536);
    EXPECT_EQ(piece.scale_offset, (1u << 30) + row / 64 * 24 * 4);
    EXPECT_LE(piece.row_count * 1536, int64_t{WeightBlock::kMostPieceBytes});
    row += piece.row_count;
  }
  EXPECT_EQ(row, 39936);
}

}  // namespace
}  // namespace m2
