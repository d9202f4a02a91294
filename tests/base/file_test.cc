#include "base/file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/temporary_folder.h"

namespace m2 {
namespace {

TEST(ReadFile, WholeFilesWithinTheBound) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "file";
  const std::string text = std::string(200'000, 'x') + '\0' + "\r\n";
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(read_file(path, text.size()).value(), text);
  const auto longer = read_file(path, text.size() - 1);
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().kind, ErrorKind::kTooLarge);
  EXPECT_NE(longer.error().message.find(path), std::string::npos);
  std::ofstream(path, std::ios::binary | std::ios::trunc);
  EXPECT_EQ(read_file(path, 0).value(), "");
  std::filesystem::remove(path);
  EXPECT_EQ(read_file(path, 1).error().kind, ErrorKind::kNotFound);
}

TEST(ReadFile, APointerOfGitLfsIsNotTheFile) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path) << "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n";
  const auto pointer = read_file(path, 1000);
  ASSERT_FALSE(pointer);
  EXPECT_NE(pointer.error().message.find(path + ": a pointer of Git LFS"), std::string::npos);
}

TEST(ReadFile, WhatIsNoFile) {
  EXPECT_FALSE(read_file("/tmp", 1000));
  EXPECT_EQ(read_file("/dev/zero", 1000).error().kind, ErrorKind::kTooLarge);
}

}  // namespace
}  // namespace m2
