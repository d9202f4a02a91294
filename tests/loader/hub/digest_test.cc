#include "loader/hub/digest.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/loader/test_files.h"

namespace m2 {
namespace {

const std::string kSha256(64, '0'), kGit(40, '0');  // names of so many digits

TEST(DigestTest, OfAFile) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", "abc");
  EXPECT_EQ(digest_file(folder / "file", kSha256).value(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_file(folder / "file", kGit).value(), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
  EXPECT_EQ(digest_file(folder / "absent", kGit).error().kind, ErrorKind::kNotFound);
}

TEST(DigestTest, WhatIsNoFileHasNone) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {folder.path(), folder / "pipe", std::string("/dev/zero")}) {
    const auto digest = digest_file(path, kSha256);
    ASSERT_FALSE(digest) << path;
    EXPECT_EQ(digest.error().message, path + " is not a regular file");
  }
}

}  // namespace
}  // namespace m2
