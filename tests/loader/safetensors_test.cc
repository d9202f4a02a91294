#include "loader/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <span>

#include "tests/loader/test_files.h"

namespace m2 {
namespace {

using test::safetensors_bytes;

// Parses from memory at a multiple of 8, as a mapping is.
std::string error_of(std::string_view bytes) {
  std::vector<uint64_t> aligned((bytes.size() + 7) / 8 + 1);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(aligned.data()));
  const auto parsed =
      parse_safetensors({reinterpret_cast<const std::byte*>(aligned.data()), bytes.size()});
  return parsed ? "" : parsed.error().message;
}

// The header is padded, so that the data starts at a multiple of 8.
std::string error_of(std::string header, size_t data_bytes) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return error_of(safetensors_bytes(header, std::string(data_bytes, '\1')));
}

#define EXPECT_ERROR(error, part) EXPECT_NE((error).find(part), std::string::npos) << (error)

std::span<const std::byte> bytes_of(const TensorView& view) {
  return {static_cast<const std::byte*>(view.data), view.bytes()};
}

TEST(SafetensorsTest, ReadsTypesShapesAndData) {
  const test::TemporaryFolder folder;
  const std::string four = std::string("\0\0\x80\x3f", 4);  // 1.0f
  test::write_file(folder / "a.safetensors",
                   safetensors_bytes({{"vector", {DType::kF32, {2}, four + four}},
                                      {"matrix", {DType::kF8E4M3, {2, 3}, "abcdef"}},
                                      {"scalar", {DType::kBF16, {}, "\x80\x3f"}},
                                      {"none", {DType::kI64, {0, 5}, ""}}}));
  const auto file = SafetensorsFile::open(folder / "a.safetensors");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 4u);
  const TensorView* vector = file->find("vector");
  ASSERT_NE(vector, nullptr);
  EXPECT_EQ(vector->as<float>()[1], 1.0f);
  const TensorView* matrix = file->find("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->rank, 2);
  EXPECT_EQ(matrix->shape[1], 3);
  EXPECT_EQ(matrix->as<uint8_t>()[5], 'f');
  EXPECT_EQ(file->find("scalar")->elements(), 1);
  EXPECT_EQ(file->find("none")->elements(), 0);
  EXPECT_EQ(file->find("absent"), nullptr);
  EXPECT_TRUE(file->fetch(bytes_of(*matrix)).has_value());
}

TEST(SafetensorsTest, RefusesBadHeaders) {
  EXPECT_ERROR(error_of("1234567"), "7 bytes are no safetensors file");
  EXPECT_ERROR(error_of("version https://git-lfs.github.com/spec/v1\n"), "`git lfs pull`");
  EXPECT_ERROR(error_of(std::string(8, '\0')), "does not start with {");
  EXPECT_ERROR(error_of(std::string(8, '\xff')), "more than 25000000");
  EXPECT_ERROR(error_of(std::string("\x40\x78\x7d\x01\0\0\0\0", 8)),
               "25000000 bytes in a file of 8");
  EXPECT_ERROR(error_of(std::string("\x41\x78\x7d\x01\0\0\0\0", 8)), "25000001 bytes, more than");
  EXPECT_ERROR(error_of(safetensors_bytes("[]", "")), "does not start with {");
  EXPECT_ERROR(error_of(safetensors_bytes("{\"a\":", "")), "");
  EXPECT_NE(error_of(safetensors_bytes("{\"a\":", "")), "");
  EXPECT_NE(error_of(safetensors_bytes(
                R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}", "")),
            "");
  EXPECT_EQ(error_of(safetensors_bytes("{}", "")), "");
}

TEST(SafetensorsTest, RefusesBadEntries) {
  EXPECT_ERROR(error_of(R"({"a":1})", 0), "a: dtype is missing");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"F6","shape":[],"data_offsets":[0,1]}})", 1),
               R"(a: dtype "F6" is not supported)");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1), "shape is missing");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1),
               "shape must hold integers from 0, got -1");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1),
               "shape must hold integers");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[0,1]}})", 1),
               "5 dimensions, more than 4");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1),
               "data_offsets must be [begin, end]");
  EXPECT_ERROR(
      error_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551615]}})", 1),
      "data_offsets must hold integers");
}

TEST(SafetensorsTest, RefusesBadNames) {
  const auto named = [](const std::string& name) {
    return error_of(R"({")" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
  };
  EXPECT_ERROR(named(""), "empty name");
  EXPECT_ERROR(named("a b"), "space, control or non-ASCII");
  EXPECT_ERROR(named("a\\u001b[31m"), "space, control or non-ASCII");
  EXPECT_ERROR(named(std::string(513, 'a')), "513 bytes, more than 512");
  EXPECT_EQ(named(std::string(512, 'a')), "");
}

TEST(SafetensorsTest, RefusesSizesThatDoNotFit) {
  // The product wraps to a small number in 64 bits.
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967297],)"
                        R"("data_offsets":[0,4]}})",
                        4),
               "overflows");
  // It fits in 64 bits, but not with a sign.
  EXPECT_ERROR(
      error_of(R"({"a":{"dtype":"U8","shape":[4611686018427387904,3],"data_offsets":[0,4]}})", 4),
      "overflows");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
               "F32 [2] takes 8 bytes, but data_offsets [0, 4] hold 4");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8),
               "[0, 9] do not lie in the 8 bytes");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[3,2]}})", 8),
               "[3, 2] do not lie");
  EXPECT_ERROR(error_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                        5),
               "b: F32 elements at byte 1 of the data are not aligned");
}

TEST(SafetensorsTest, RefusesOverlapHolesAndRepeats) {
  const auto pair = [](const char* first, const char* second, size_t bytes) {
    const auto entry = [](const char* name, const char* place) {
      return fmt::format(R"("{}":{{"dtype":"U8",{}}})", name, place);
    };
    return error_of(fmt::format("{{{},{}}}", entry("a", first), entry("b", second)), bytes);
  };
  const char* front = R"("shape":[4],"data_offsets":[0,4])";
  EXPECT_EQ(pair(front, R"("shape":[4],"data_offsets":[4,8])", 8), "");
  EXPECT_ERROR(pair(front, R"("shape":[4],"data_offsets":[3,7])", 7), "a and b overlap");
  EXPECT_ERROR(pair(front, R"("shape":[4],"data_offsets":[0,4])", 4), "a and b overlap");
  EXPECT_ERROR(pair(front, R"("shape":[0],"data_offsets":[2,2])", 4), "a and b overlap");
  EXPECT_ERROR(pair(front, R"("shape":[3],"data_offsets":[5,8])", 8),
               "1 bytes before b belong to no tensor");
  EXPECT_ERROR(pair(front, R"("shape":[3],"data_offsets":[4,7])", 8),
               "the last 1 bytes belong to no tensor");
  EXPECT_ERROR(error_of("{}", 3), "the last 3 bytes");
  const std::string entry = R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_ERROR(error_of(R"({"a":)" + entry + R"(,"\u0061":)" + entry + "}", 4),
               "names a tensor twice");
  // Quotes, braces and colons inside a name are no structure.
  EXPECT_EQ(error_of(R"({"a\":{":)" + entry + "}", 4), "");
  EXPECT_EQ(error_of(R"({"a\":\"b":)" + entry + "}", 4), "");
}

TEST(SafetensorsTest, NamesTheFileAtFault) {
  const test::TemporaryFolder folder;
  const auto message = [](const std::string& path) {
    const auto file = SafetensorsFile::open(path);
    return file ? "" : file.error().message;
  };
  EXPECT_EQ(SafetensorsFile::open(folder / "absent").error().kind, ErrorKind::kNotFound);
  EXPECT_ERROR(message(folder.path()), "is not a regular file");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR(message(folder / "pipe"), "is not a regular file");
  test::write_file(folder / "empty", "");
  EXPECT_ERROR(message(folder / "empty"), "empty: 0 bytes are no safetensors file");
}

TEST(SafetensorsTest, AFileCutShortIsAnErrorNotASignal) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "cut.safetensors";
  const int64_t size = 1 << 20;
  test::write_file(path, safetensors_bytes({{"a", {DType::kU8, {size}, std::string(size, 'x')}}}));
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  ASSERT_TRUE(file->fetch(bytes_of(*file->find("a"))).has_value());
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  const Status fetched = file->fetch(bytes_of(*file->find("a")));
  if (fetched) GTEST_SKIP() << "this kernel does not populate mappings on request";
  EXPECT_ERROR(fetched.error().message, "it was cut short");
}

// Kilobytes of the file's mapping that are in this process's memory; -1 when the system says not.
int64_t resident_kb(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(path) != std::string::npos) ours = true;
    if (ours && line.starts_with("Rss:")) return std::stoll(line.substr(4));
  }
  return -1;
}

TEST(SafetensorsTest, FetchTouchesThePartAlone) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "large.safetensors";
  constexpr int64_t kSize = 64 << 20, kPart = kSize / 8;
  test::write_file(path,
                   safetensors_bytes({{"a", {DType::kU8, {kSize}, std::string(kSize, 'x')}}}));
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  const int64_t before = resident_kb(path);
  ASSERT_TRUE(file->fetch(bytes_of(*file->find("a")).subspan(5 * kPart, kPart)).has_value());
  const int64_t after = resident_kb(path);
  if (before < 0 || after < kPart / 1024) GTEST_SKIP() << "this system does not tell or populate";
  // The system maps neighbours along, in windows of at most a huge page.
  EXPECT_LE(after - before, kPart / 1024 + 4096);
}

}  // namespace
}  // namespace m2
