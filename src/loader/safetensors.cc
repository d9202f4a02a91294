#include "loader/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/descriptor.h"
#include "base/file.h"
#include "json/json.h"

namespace m2 {
namespace {

constexpr size_t kMaxNameBytes = 512;
constexpr size_t kLengthBytes = 8;  // the header's length, little-endian, before the header

// The format has more types; what no tensor of this family can be is refused with its name.
std::optional<DType> dtype_of(std::string_view name) {
  for (DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kI32,
                     DType::kI64, DType::kU8}) {
    if (name == dtype_name(type)) return type;
  }
  return std::nullopt;
}

// The JSON parser keeps the last of several equal keys, as Python does, so a repeated name has to
// be found in the text. The text is valid JSON here; depth 1 holds the names.
size_t count_names(std::string_view json) {
  size_t names = 0, depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (c == ':' && depth == 1) ++names;
  }
  return names;
}

Status check_name(std::string_view name) {
  if (name.empty()) return invalid("name", "a tensor has an empty name");
  if (name.size() > kMaxNameBytes) {
    return invalid("name", "a tensor's name has {} bytes, more than {}", name.size(),
                   kMaxNameBytes);
  }
  // Names are shown to people and written to logs.
  const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
  if (!clean) return invalid("name", "a tensor's name holds a space, control or non-ASCII byte");
  return {};
}

Result<uint64_t> read_size(const json::Value& value, std::string_view tensor, const char* what) {
  if (!value.is_int() || value.as_int() < 0) {
    return invalid(what, "{}: {} must hold integers from 0, got {}", tensor, what,
                   json::dump(value).substr(0, 40));
  }
  return static_cast<uint64_t>(value.as_int());
}

// Fills rank and shape. After it, the product of the sizes and its bytes fit in a signed 64 bits.
Status read_shape(const json::Value* shape, std::string_view name, TensorView& view) {
  if (!shape || !shape->is_array()) return invalid("shape", "{}: shape is missing", name);
  const json::Array& sizes = shape->as_array();
  if (sizes.size() > view.shape.size()) {
    return invalid("shape", "{}: {} dimensions, more than {}", name, sizes.size(),
                   view.shape.size());
  }
  view.rank = static_cast<int>(sizes.size());
  uint64_t bytes = dtype_bytes(view.dtype);
  for (size_t i = 0; i < sizes.size(); ++i) {
    M2_ASSIGN(const uint64_t size, read_size(sizes[i], name, "shape"));
    if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX) {
      return invalid("shape", "{}: the shape {} overflows", name, json::dump(*shape));
    }
    view.shape[i] = static_cast<int64_t>(size);
  }
  return {};
}

// One entry of the header; `data` is what follows the header.
Result<NamedTensor> read_tensor(const json::Member& member, std::span<const std::byte> data) {
  const auto& [name, value] = member;
  M2_TRY(check_name(name));
  const json::Value* dtype = value.find("dtype");
  if (!dtype || !dtype->is_string()) return invalid("dtype", "{}: dtype is missing", name);
  const std::optional<DType> type = dtype_of(dtype->as_string());
  if (!type) {
    return fail(ErrorKind::kUnsupported, "dtype", "{}: dtype {} is not supported", name,
                json::dump(*dtype).substr(0, 40));
  }
  NamedTensor tensor{name, {.data = nullptr, .dtype = *type, .rank = 0, .shape = {}}};
  M2_TRY(read_shape(value.find("shape"), name, tensor.view));
  const json::Value* offsets = value.find("data_offsets");
  if (!offsets || !offsets->is_array() || offsets->as_array().size() != 2) {
    return invalid("data_offsets", "{}: data_offsets must be [begin, end]", name);
  }
  M2_ASSIGN(const uint64_t begin, read_size(offsets->as_array()[0], name, "data_offsets"));
  M2_ASSIGN(const uint64_t end, read_size(offsets->as_array()[1], name, "data_offsets"));
  if (begin > end || end > data.size()) {
    return invalid("data_offsets", "{}: data_offsets [{}, {}] do not lie in the {} bytes of data",
                   name, begin, end, data.size());
  }
  if (end - begin != tensor.view.bytes()) {
    return invalid("data_offsets", "{}: {} {} takes {} bytes, but data_offsets [{}, {}] hold {}",
                   name, dtype_name(*type), json::dump(*value.find("shape")), tensor.view.bytes(),
                   begin, end, end - begin);
  }
  tensor.view.data = data.data() + begin;
  if (reinterpret_cast<uintptr_t>(tensor.view.data) % dtype_bytes(*type) != 0) {
    return invalid("data_offsets", "{}: {} elements at byte {} of the data are not aligned", name,
                   dtype_name(*type), begin);
  }
  return tensor;
}

// The format wants the tensors to tile the data: no byte in two of them, none in nobody's.
Status check_tiling(const std::vector<NamedTensor>& tensors, std::span<const std::byte> data) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  // Empty tensors share their place with a neighbour: they go first.
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return std::pair(a->view.data, a->view.bytes()) < std::pair(b->view.data, b->view.bytes());
  });
  const std::byte* expected = data.data();
  const NamedTensor* last = nullptr;
  for (const NamedTensor* tensor : order) {
    const auto* begin = static_cast<const std::byte*>(tensor->view.data);
    if (begin < expected) {
      return invalid("data_offsets", "{} and {} overlap", last->name, tensor->name);
    }
    if (begin > expected) {
      return invalid("data_offsets", "{} bytes before {} belong to no tensor", begin - expected,
                     tensor->name);
    }
    expected = begin + tensor->view.bytes();
    last = tensor;
  }
  const auto left = data.data() + data.size() - expected;
  if (left != 0) return invalid("data_offsets", "the last {} bytes belong to no tensor", left);
  return {};
}

// The header's JSON. Its length is the first thing a hostile file lies about.
Result<std::string_view> header_text(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes) {
    return invalid("header", "{} bytes are no safetensors file", bytes.size());
  }
  if (is_lfs_pointer({reinterpret_cast<const char*>(bytes.data()), bytes.size()}))
    return invalid("header", "{}", kLfsPointer);
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  if (length > kMaxSafetensorsHeaderBytes) {
    return invalid("header", "a header of {} bytes, more than {}", length,
                   kMaxSafetensorsHeaderBytes);
  }
  if (length > bytes.size() - kLengthBytes) {
    return invalid("header", "a header of {} bytes in a file of {}", length, bytes.size());
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  if (length == 0 || text[0] != '{') return invalid("header", "the header does not start with {{");
  return std::string_view(text, length);
}

}  // namespace

Result<std::vector<NamedTensor>> parse_safetensors(std::span<const std::byte> bytes) {
  M2_ASSIGN(const std::string_view text, header_text(bytes));
  const json::Limits limits{.max_bytes = kMaxSafetensorsHeaderBytes, .max_depth = 8};
  M2_ASSIGN(const json::Value header, json::parse(text, limits));
  const json::Object& members = header.as_object();  // the text starts with '{'
  if (count_names(text) != members.size()) {
    return invalid("name", "the header names a tensor twice");
  }
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + text.size());
  std::vector<NamedTensor> tensors;
  tensors.reserve(members.size());
  for (const json::Member& member : members) {
    if (member.first == "__metadata__") continue;
    M2_ASSIGN(NamedTensor tensor, read_tensor(member, data));
    tensors.push_back(std::move(tensor));
  }
  M2_TRY(check_tiling(tensors, data));
  std::sort(tensors.begin(), tensors.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
  return tensors;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  // Without O_NONBLOCK a pipe in the place of a file would hang the start.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor) {
    return fail(errno == ENOENT ? ErrorKind::kNotFound : ErrorKind::kInvalidArgument, "model",
                "{} cannot be opened: {}", path, std::strerror(errno));
  }
  struct stat status {};
  const bool regular = ::fstat(descriptor.get(), &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<size_t>(regular ? status.st_size : 0);
  void* mapping =
      size ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.get(), 0) : nullptr;
  if (!regular) return invalid("model", "{} is not a regular file", path);
  if (mapping == MAP_FAILED) {
    return invalid("model", "{} cannot be mapped: {}", path, std::strerror(errno));
  }
  SafetensorsFile file;
  file.path_ = path;
  file.bytes_ = {static_cast<const std::byte*>(mapping), size};
  auto tensors = parse_safetensors(file.bytes_);
  if (!tensors) {
    tensors.error().message = path + ": " + tensors.error().message;
    return tl::unexpected(std::move(tensors.error()));
  }
  file.tensors_ = std::move(*tensors);
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, {})),
      tensors_(std::move(other.tensors_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  std::swap(tensors_, other.tensors_);
  return *this;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const NamedTensor& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return at != tensors_.end() && at->name == name ? &at->view : nullptr;
}

Status SafetensorsFile::fetch(std::span<const std::byte> part) const {
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, absent from older headers
  if (part.empty()) return {};
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const size_t within = reinterpret_cast<uintptr_t>(part.data()) % page;
  std::byte* const begin = const_cast<std::byte*>(part.data()) - within;
  if (::madvise(begin, within + part.size(), kPopulateRead) == 0) return {};
  // EINVAL: a kernel that does not know the request. The copy will then read page by page.
  if (errno != EFAULT && errno != EIO && errno != EHWPOISON) return {};
  return fail(ErrorKind::kInternal, "model",
              "{} cannot be read at byte {}: it was cut short, or its disk fails", path_,
              part.data() - bytes_.data());
}

}  // namespace m2
