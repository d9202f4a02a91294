#include "backend/cuda_plugin.h"

#include <gtest/gtest.h>

#include "backend/plugin.h"

namespace m2 {
namespace {

TEST(CudaPluginTest, EveryCapabilityHasItsFile) {
  EXPECT_EQ(cuda_plugin_for(52), nullptr);
  EXPECT_EQ(cuda_plugin_for(62), nullptr);
  for (const int32_t volta : {70, 72}) {
    EXPECT_STREQ(cuda_plugin_for(volta), "libm2_cuda_sm70.so");
  }
  for (const int32_t later : {75, 80, 86, 87, 89, 90, 100, 103, 120, 121}) {
    EXPECT_STREQ(cuda_plugin_for(later), kCudaPlugin);
  }
}

TEST(CudaPluginTest, AnOlderGpuIsRefusedWithItsNumber) {
  const auto opened = open_cuda(CudaDevice{"NVIDIA GeForce GTX 1080", 61}, {.device = "cuda"});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(opened.error().message,
            "NVIDIA GeForce GTX 1080 has compute capability 6.1; GPUs of 7.0 and later are served");
}

// Whatever is beside this program: without the file the error says how it is made.
TEST(CudaPluginTest, AMissingFileIsNamedWithWhatBuildsIt) {
  const std::pair<CudaDevice, const char*> cases[] = {
      {{"Tesla V100-SXM2-32GB", 70},
       "; Tesla V100-SXM2-32GB has compute capability 7.0, for which make cuda-sm70 builds it"},
      {{"Tesla T4", 75}, "; Tesla T4 has compute capability 7.5, for which make cuda builds it"}};
  for (const auto& [device, hint] : cases) {
    const char* file = cuda_plugin_for(device.capability);
    const auto opened = open_cuda(device, {.device = "cuda"});
    const bool is_here = find_plugin_memory(file) != nullptr;
    if (is_here && opened) continue;
    ASSERT_FALSE(opened);
    const std::string& message = opened.error().message;
    EXPECT_EQ(message.ends_with(hint), !is_here) << message;
    EXPECT_EQ(message.find(file) != std::string::npos, !is_here) << message;
  }
}

TEST(CudaPluginTest, WithoutADeviceThePluginSaysWhy) {
  if (first_cuda_device()) GTEST_SKIP() << "a GPU is here";
  const auto opened = open_cuda(std::nullopt, {.device = "cuda"});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::kUnavailable);
  EXPECT_EQ(opened.error().message.ends_with("; make cuda builds it"),
            find_plugin_memory(kCudaPlugin) == nullptr)
      << opened.error().message;
}

}  // namespace
}  // namespace m2
