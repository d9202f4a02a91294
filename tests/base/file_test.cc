#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

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

// Whoever goes on without a file must not pass over one that is there.
TEST(ReadFile, NoFileIsNotOneThatCannotBeOpened) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "file") << "text";
  for (const std::string& none : {folder / "file/below", folder / std::string(300, 'x')}) {
    EXPECT_EQ(read_file(none, 10).error().kind, ErrorKind::kNotFound) << none;
  }
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_EQ(read_file(folder / "loop", 10).error().kind, ErrorKind::kInvalidArgument);
}

TEST(ReadFile, APointerOfGitLfsIsNotTheFile) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path) << "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n";
  const auto pointer = read_file(path, 1000);
  ASSERT_FALSE(pointer);
  EXPECT_NE(pointer.error().message.find(path + ": a pointer of Git LFS"), std::string::npos);
}

// None is opened: a pipe without a writer would never end.
TEST(ReadFile, WhatIsNoFile) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", folder / "link");
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  (folder / "socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(listener);
  for (const std::string& path : {folder.path(), folder / "pipe", folder / "link",
                                  folder / "socket", std::string("/dev/zero")}) {
    const auto read = read_file(path, 1000);
    ASSERT_FALSE(read) << path;
    EXPECT_EQ(read.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_EQ(read.error().message, path + ": is not a regular file");
  }
  EXPECT_EQ(read_file("/dev/zero", 1000, FileKind::kAny).error().kind, ErrorKind::kTooLarge);
}

TEST(ReadFile, WhatAUserNamesMayBeAPipe) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(folder / "pipe") << "from a pipe"; });
  EXPECT_EQ(read_file(folder / "pipe", 1000, FileKind::kAny).value(), "from a pipe");
  writer.join();
}

}  // namespace
}  // namespace m2
