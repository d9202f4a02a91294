#include "loader/hub/partial_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "loader/hub/digest.h"
#include "tests/loader/test_files.h"

namespace m2 {
namespace {

constexpr int64_t kSize = 2 * kPieceBytes + 1000;

std::string content() {
  std::string bytes(static_cast<size_t>(kSize), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

std::span<const std::byte> part(const std::string& bytes, int64_t begin, int64_t end) {
  return std::as_bytes(std::span(bytes))
      .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

void put(PartialFile& file, const std::string& bytes, int64_t piece) {
  const int64_t begin = piece * kPieceBytes;
  ASSERT_TRUE(file.write(begin, part(bytes, begin, file.piece_end(piece))).has_value());
  ASSERT_TRUE(file.mark(piece).has_value());
}

TEST(PartialFileTest, GoesOnWhereItWasLeft) {
  const test::TemporaryFolder folder;
  const std::string bytes = content();
  const std::string blob = folder / "blob";
  {
    auto file = PartialFile::open(blob, kSize, true);
    ASSERT_TRUE(file.has_value()) << file.error().message;
    ASSERT_EQ(file->num_pieces(), 3);
    put(*file, bytes, 2);
    put(*file, bytes, 0);
    // A piece that was begun and not marked, as at a kill.
    ASSERT_TRUE(file->write(kPieceBytes, part(bytes, 0, 5000)).has_value());
  }
  EXPECT_FALSE(std::filesystem::exists(blob));
  auto file = PartialFile::open(blob, kSize, true);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_TRUE(file->has(0));
  EXPECT_FALSE(file->has(1));
  EXPECT_TRUE(file->has(2));
  EXPECT_EQ(file->bytes(), kPieceBytes + 1000);
  put(*file, bytes, 1);
  ASSERT_TRUE(file->finish(blob).has_value());
  EXPECT_EQ(test::read_file(blob), bytes);
  EXPECT_FALSE(std::filesystem::exists(blob + ".m2.incomplete"));
}

TEST(PartialFileTest, KilledBetweenLosingItsMarksAndItsName) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "blob.m2.incomplete", content());
  const auto file = PartialFile::open(folder / "blob", kSize, true);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), kSize);
}

TEST(PartialFileTest, AnotherSizeStartsAnew) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "blob.m2.incomplete", std::string(777, 'x'));
  const auto file = PartialFile::open(folder / "blob", kSize, true);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), 0);
}

TEST(PartialFileTest, TakesOverWhatAnotherProgramBegan) {
  const test::TemporaryFolder folder;
  const std::string bytes = content();
  test::write_file(folder / "blob.incomplete", bytes.substr(0, kPieceBytes + 500));
  auto file = PartialFile::open(folder / "blob", kSize, true);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), kPieceBytes);  // whole pieces
  EXPECT_FALSE(std::filesystem::exists(folder / "blob.incomplete"));
  put(*file, bytes, 1);
  put(*file, bytes, 2);
  ASSERT_TRUE(file->finish(folder / "blob").has_value());
  EXPECT_EQ(test::read_file(folder / "blob"), bytes);
}

TEST(PartialFileTest, WithoutLocksEachHasItsOwn) {
  const test::TemporaryFolder folder;
  auto one = PartialFile::open(folder / "blob", kSize, false);
  auto two = PartialFile::open(folder / "blob", kSize, false);
  ASSERT_TRUE(one.has_value() && two.has_value());
  const std::string bytes = content();
  for (int64_t i = 0; i < 3; ++i) put(*one, bytes, i);
  EXPECT_EQ(two->bytes(), 0);
  ASSERT_TRUE(one->finish(folder / "blob").has_value());
  EXPECT_EQ(test::read_file(folder / "blob"), bytes);
}

TEST(PartialFileTest, ResetForgetsAll) {
  const test::TemporaryFolder folder;
  auto file = PartialFile::open(folder / "blob", kSize, true);
  ASSERT_TRUE(file.has_value());
  put(*file, content(), 0);
  ASSERT_TRUE(file->reset().has_value());
  EXPECT_EQ(file->bytes(), 0);
  *file = PartialFile();
  EXPECT_EQ(PartialFile::open(folder / "blob", kSize, true)->bytes(), 0);
}

TEST(DigestTest, AsTheHubNamesFiles) {
  Digest sha256(std::string(64, '0'), 3);
  sha256.update(std::as_bytes(std::span("abc", 3)));
  EXPECT_EQ(sha256.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Digest git(std::string(40, '0'), 6);  // git hash-object of "hello\n"
  git.update(std::as_bytes(std::span("hello\n", 6)));
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

}  // namespace
}  // namespace m2
