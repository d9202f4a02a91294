#include "loader/hub/hub.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/loader/test_files.h"

namespace m2 {
namespace {

constexpr const char* kCommit = "f710177d938eff80b684d42c5aa84b382612f21f";
constexpr const char* kModel = "MiniMaxAI/MiniMax-M2.5";

#define EXPECT_ERROR(error, part) EXPECT_NE((error).find(part), std::string::npos) << (error)

// A cache as the Hugging Face libraries write it: the snapshot's files are links to blobs.
void write_cache(const std::string& cache) {
  const std::string repository = cache + "/models--MiniMaxAI--MiniMax-M2.5";
  test::write_file(repository + "/blobs/b1", "{}");
  test::write_file(repository + "/refs/main", std::string(kCommit) + "\n");
  test::write_file(repository + "/refs/refs/pr/1", kCommit);
  test::write_file(repository + "/refs/broken", "../../elsewhere");
  test::write_file(repository + "/refs/partial", std::string(40, 'a'));
  const std::string snapshot = repository + "/snapshots/" + kCommit;
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_symlink("../../blobs/b1", snapshot + "/config.json");
}

std::string error_of(const ModelSource& source, const HubEnvironment& environment) {
  const auto folder = find_model(source, environment);
  return folder ? "found " + *folder : folder.error().message;
}

TEST(HubTest, AFolderWins) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(find_model({.model = folder.path()}, {}).value(), folder.path());
  HubEnvironment environment;
  environment.home = folder.path();
  std::filesystem::create_directories(folder / "models/a");
  EXPECT_EQ(find_model({.model = "~/models/a"}, environment).value(), folder / "models/a");
}

TEST(HubTest, FindsBranchesAndCommits) {
  const test::TemporaryFolder folder;
  write_cache(folder.path());
  HubEnvironment environment;
  environment.hf_hub_cache = folder.path();
  const std::string wanted = folder / "models--MiniMaxAI--MiniMax-M2.5/snapshots/" + kCommit;
  for (const char* revision : {"main", "refs/pr/1", kCommit}) {
    const auto found = find_model({.model = kModel, .revision = revision}, environment);
    ASSERT_TRUE(found.has_value()) << found.error().message;
    EXPECT_EQ(*found, wanted);
  }
}

TEST(HubTest, CacheFolderByPrecedence) {
  HubEnvironment environment;
  EXPECT_EQ(hub_cache_folder(environment), "");
  environment.home = "/home/u";
  EXPECT_EQ(hub_cache_folder(environment), "/home/u/.cache/huggingface/hub");
  environment.xdg_cache_home = "/xdg";
  EXPECT_EQ(hub_cache_folder(environment), "/xdg/huggingface/hub");
  environment.hf_home = "~/hf";
  EXPECT_EQ(hub_cache_folder(environment), "/home/u/hf/hub");
  environment.huggingface_hub_cache = "/old";
  EXPECT_EQ(hub_cache_folder(environment), "/old");
  environment.hf_hub_cache = "/new";
  EXPECT_EQ(hub_cache_folder(environment), "/new");
}

TEST(HubTest, DownloadDirTakesTheCachesPlace) {
  const test::TemporaryFolder folder;
  write_cache(folder / "downloads");
  HubEnvironment environment;
  environment.hf_hub_cache = folder / "empty";
  const ModelSource source{.model = kModel, .download_dir = folder / "downloads"};
  EXPECT_TRUE(find_model(source, environment).has_value());
  EXPECT_ERROR(error_of({.model = kModel}, environment), folder / "empty");
}

TEST(HubTest, SaysWhereItLooked) {
  const test::TemporaryFolder folder;
  HubEnvironment environment;
  environment.hf_hub_cache = folder.path();
  const auto absent = find_model({.model = kModel}, environment);
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().kind, ErrorKind::kNotFound);
  EXPECT_ERROR(absent.error().message, folder / "models--MiniMaxAI--MiniMax-M2.5");
  write_cache(folder.path());
  EXPECT_ERROR(error_of({.model = kModel, .revision = "v2"}, environment), "/refs/v2");
  const std::string refs = folder / "models--MiniMaxAI--MiniMax-M2.5/refs";
  ASSERT_EQ(::mkfifo((refs + "/pipe").c_str(), 0600), 0);  // nobody waits for its writer
  EXPECT_ERROR(error_of({.model = kModel, .revision = "pipe"}, environment), "/refs/pipe");
  EXPECT_ERROR(error_of({.model = kModel, .revision = "broken"}, environment),
               "refs/broken does not hold a commit");
  EXPECT_ERROR(error_of({.model = kModel, .revision = "partial"}, environment),
               "is not complete in the cache");
  EXPECT_ERROR(error_of({.model = kModel}, {}), "neither HOME nor HF_HOME");
}

TEST(HubTest, RefusesNamesThatLeadElsewhere) {
  const test::TemporaryFolder folder;
  write_cache(folder.path());
  HubEnvironment environment;
  environment.hf_hub_cache = folder.path();
  for (const char* model : {"/absent/model", "./absent", "../absent/model", "a/..", "a/b/c",
                            "absent", "a--b/c", ".a/b", "a/b-", "a/b\nc", "a/ b"}) {
    EXPECT_ERROR(error_of({.model = model}, environment), "no repository is named so");
  }
  for (const char* revision : {"", "..", "../main", "/main", "a//b", "a/../b", "a b", ".hidden"}) {
    EXPECT_ERROR(error_of({.model = kModel, .revision = revision}, environment),
                 "no branch, tag or commit");
  }
  EXPECT_ERROR(error_of({.model = ""}, environment), "1 to 4096 bytes");
  test::write_file(folder / "file.gguf", "GGUF");
  EXPECT_ERROR(error_of({.model = folder / "file.gguf"}, environment),
               "is a file: give the folder");
}

}  // namespace
}  // namespace m2
