#include "loader/hub/environment.h"

#include <gtest/gtest.h>

#include "loader/hub/cache_repository.h"
#include "loader/hub/http.h"
#include "loader/hub/hub.h"
#include "loader/hub/names.h"
#include "tests/loader/test_files.h"

namespace m2 {
namespace {

TEST(HubEnvironmentTest, Endpoint) {
  HubEnvironment environment;
  EXPECT_EQ(hub_endpoint(environment).value(), "https://huggingface.co");
  environment.endpoint = "https://mirror.example/hf//";
  EXPECT_EQ(hub_endpoint(environment).value(), "https://mirror.example/hf");
  for (const char* bad :
       {"mirror.example", "ftp://a", "https://u:p@a", "https://a b", "http://a?b"}) {
    environment.endpoint = bad;
    EXPECT_FALSE(hub_endpoint(environment).has_value()) << bad;
  }
  environment.endpoint = "https://user:secret@mirror.example";
  EXPECT_EQ(hub_endpoint(environment).error().message.find("secret"), std::string::npos);
}

TEST(HubEnvironmentTest, TokenByPrecedence) {
  const test::TemporaryFolder folder;
  HubEnvironment environment;
  EXPECT_EQ(hub_token(environment, "").value(), "");
  environment.hf_home = folder.path();
  test::write_file(folder / "token", " stored \n");
  EXPECT_EQ(hub_token(environment, "").value(), "stored");
  test::write_file(folder / "elsewhere", "other\n");
  environment.token_path = folder / "elsewhere";
  EXPECT_EQ(hub_token(environment, "").value(), "other");
  environment.token = "variable";
  EXPECT_EQ(hub_token(environment, "").value(), "variable");
  EXPECT_EQ(hub_token(environment, "flag").value(), "flag");
  environment.no_implicit = "1";
  EXPECT_EQ(hub_token(environment, "").value(), "");
  // It stands in a header: nothing of it may end one.
  EXPECT_FALSE(hub_token(environment, "a\r\nHost: b").has_value());
}

TEST(HubNamesTest, OnlyWhatIsSafe) {
  EXPECT_TRUE(is_blob_name(std::string(64, 'a')));
  EXPECT_TRUE(is_blob_name(std::string(40, '0')));
  for (const std::string& bad : {std::string(), std::string(41, 'a'), std::string(64, 'A'),
                                 "../" + std::string(61, 'a'), std::string(40, 'g')}) {
    EXPECT_FALSE(is_blob_name(bad)) << bad;
  }
  EXPECT_TRUE(is_file_name("model-00000-of-00130.safetensors"));
  for (const char* bad : {"", ".", "..", ".git", "a/b", "/a", "a\\b", "a b", "a\nb"}) {
    EXPECT_FALSE(is_file_name(bad)) << bad;
  }
}

TEST(HttpTest, OneOriginIsSchemeHostAndPort) {
  EXPECT_TRUE(same_origin("https://a.example/x", "https://A.example:443/y?z"));
  EXPECT_FALSE(same_origin("https://a.example", "http://a.example"));
  EXPECT_FALSE(same_origin("https://a.example", "https://a.example:444"));
  EXPECT_FALSE(same_origin("https://a.example", "https://a.example.evil"));
  EXPECT_FALSE(same_origin("https://a.example", "https://a.example@evil/"));
  EXPECT_FALSE(same_origin("ftp://a", "ftp://a"));
}

TEST(CacheRepositoryTest, LocksHoldBetweenOpenFiles) {
  const test::TemporaryFolder folder;
  BlobLock one, two;
  EXPECT_EQ(one.try_lock(folder / "l"), BlobLock::State::kHeld);
  EXPECT_EQ(two.try_lock(folder / "l"), BlobLock::State::kBusy);
  one.unlock();
  EXPECT_EQ(two.try_lock(folder / "l"), BlobLock::State::kHeld);
  EXPECT_EQ(one.try_lock(folder / "absent/l"), BlobLock::State::kUnsupported);
}

TEST(CacheRepositoryTest, LinksAreRelativeAndReplaced) {
  const test::TemporaryFolder folder;
  const std::string commit(40, 'c'), first(40, '1'), second(40, '2');
  const CacheRepository cache(folder.path(), "org/name");
  ASSERT_TRUE(cache.prepare(commit).has_value());
  ASSERT_TRUE(cache.write_blob(first, "one").has_value());
  ASSERT_TRUE(cache.write_blob(second, "two").has_value());
  EXPECT_EQ(cache.linked_blob(commit, "f"), "");
  ASSERT_TRUE(cache.link(commit, "f", first).has_value());
  EXPECT_EQ(cache.linked_blob(commit, "f"), first);
  ASSERT_TRUE(cache.link(commit, "f", second).has_value());
  EXPECT_EQ(test::read_file(cache.snapshot(commit) + "/f"), "two");
  ASSERT_TRUE(cache.write_ref("refs/pr/1", commit).has_value());
  EXPECT_EQ(test::read_file(folder / "models--org--name/refs/refs/pr/1"), commit);
}

TEST(HubTest, KnowsWhatASnapshotLacks) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(missing_files(folder.path(), false).size(), 2);
  test::write_file(folder / "config.json", "{}");
  test::write_file(folder / "tokenizer.json", "{}");
  EXPECT_TRUE(missing_files(folder.path(), false).empty());
  EXPECT_EQ(missing_files(folder.path(), true),
            std::vector<std::string>{"model.safetensors.index.json"});
  test::write_file(folder / "model.safetensors.index.json",
                   R"({"weight_map": {"a": "m1.safetensors", "b": "m0.safetensors"}})");
  test::write_file(folder / "m0.safetensors", "x");
  EXPECT_EQ(missing_files(folder.path(), true), std::vector<std::string>{"m1.safetensors"});
}

}  // namespace
}  // namespace m2
