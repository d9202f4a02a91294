#include "loader/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "loader/checkpoint_index.h"
#include "loader/copy_slice.h"
#include "loader/pieces.h"
#include "loader/tensor_report.h"

namespace m2 {
namespace {

constexpr size_t kMissingFilesShown = 20;

std::string shape_text(const TensorView& view) {
  std::string text = std::string(dtype_name(view.dtype)) + " [";
  for (int i = 0; i < view.rank; ++i) {
    text += fmt::format("{}{}", i ? "," : "", view.shape[i]);
  }
  return text + "]";
}

// The layer of "model.layers.N.…", or -1.
int32_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return -1;
  int32_t layer = -1;
  const char* begin = name.data() + kPrefix.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), layer);
  return error == std::errc() && end != name.data() + name.size() && *end == '.' ? layer : -1;
}

// Tensors that may be there and are never read.
bool is_ignored(std::string_view name, const ModelConfig& config) {
  const int32_t layer = layer_of(name);
  if (layer >= config.num_layers && layer - config.num_layers < config.num_mtp_layers) return true;
  return name.ends_with("rotary_emb.inv_freq");
}

// What a tensor of the checkpoint must be.
struct Expected {
  std::string name;
  std::vector<DType> dtypes;
  std::vector<int64_t> shape;

  bool fits(const TensorView& view) const {
    return std::find(dtypes.begin(), dtypes.end(), view.dtype) != dtypes.end() &&
           std::equal(shape.begin(), shape.end(), view.shape.begin(),
                      view.shape.begin() + view.rank);
  }
  std::string text() const {
    TensorView view{
        .data = nullptr, .dtype = dtypes[0], .rank = static_cast<int>(shape.size()), .shape = {}};
    std::copy(shape.begin(), shape.end(), view.shape.begin());
    return shape_text(view);
  }
};

// model/shard.h knows names and shapes; what may stand in the file, and where scales do, is ours.
std::vector<Expected> expected_tensors(const ModelConfig& config) {
  std::vector<Expected> all;
  for (TensorSlice& tensor : checkpoint_tensors(config)) {
    const bool fp8 = tensor.format == SliceFormat::kQuantised && config.fp8();
    if (fp8) {
      const auto blocks = [](int64_t size) { return (size + kFp8BlockSize - 1) / kFp8BlockSize; };
      all.push_back({scale_name(tensor.name),
                     {DType::kF32, DType::kBF16},
                     {blocks(tensor.rows), blocks(tensor.columns)}});
    }
    std::vector<DType> dtypes{fp8 ? DType::kF8E4M3 : DType::kBF16};
    if (tensor.format == SliceFormat::kF32) dtypes = {DType::kF32, DType::kBF16};
    std::vector<int64_t> shape{tensor.rows, tensor.columns};
    if (tensor.is_vector) shape = {tensor.columns};
    all.push_back({std::move(tensor.name), std::move(dtypes), std::move(shape)});
  }
  return all;
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::string& folder, const ModelConfig& config) {
  M2_ASSIGN(CheckpointIndex index, read_checkpoint_index(folder));
  Checkpoint checkpoint;
  checkpoint.config_ = config;
  TensorReport report;
  const std::vector<size_t> places = checkpoint.open_files(folder, index.files, report);
  if (index.path.empty() && places[0] != kNoFile) {
    for (const NamedTensor& tensor : checkpoint.files_[0].tensors()) {
      checkpoint.tensors_.emplace(tensor.name, Place{0, tensor.view});
    }
  }
  for (auto& [name, file] : index.tensors) {
    const size_t place = places[file];
    const TensorView* view = place == kNoFile ? nullptr : checkpoint.files_[place].find(name);
    if (view) {
      checkpoint.tensors_.emplace(std::move(name), Place{place, *view});
    } else {
      checkpoint.not_in_file_.emplace(std::move(name), place);
    }
  }
  // Without its one file nothing can be said of tensors.
  if (!index.path.empty() || places[0] != kNoFile) checkpoint.check(report);
  M2_TRY(report.status(folder));
  return checkpoint;
}

std::vector<size_t> Checkpoint::open_files(const std::string& folder,
                                           const std::vector<std::string>& names,
                                           TensorReport& report) {
  std::vector<size_t> places;
  std::string absent;
  size_t absent_count = 0;
  for (const std::string& name : names) {
    auto file = SafetensorsFile::open(fmt::format("{}/{}", folder, name));
    places.push_back(file ? files_.size() : kNoFile);
    if (file) {
      files_.push_back(std::move(*file));
    } else if (file.error().kind != ErrorKind::kNotFound) {
      report.broken(std::move(file.error()));
    } else if (absent_count++ < kMissingFilesShown) {
      absent += (absent.empty() ? "" : ", ") + name;
    }
  }
  if (absent_count == 0) return places;
  report.broken({ErrorKind::kNotFound,
                 fmt::format("{}: {} of {} weight files are missing: {}{}", folder, absent_count,
                             names.size(), absent, absent_count > kMissingFilesShown ? ", …" : ""),
                 "model"});
  return places;
}

void Checkpoint::check(TensorReport& report) const {
  std::set<std::string, std::less<>> wanted;
  for (Expected& tensor : expected_tensors(config_)) {
    const auto found = tensors_.find(tensor.name);
    if (found == tensors_.end()) {
      const auto vain = not_in_file_.find(tensor.name);
      // What a broken file should hold is not missed as well.
      if (vain == not_in_file_.end()) {
        report.missing(tensor.name);
      } else if (vain->second != kNoFile) {
        report.missing(
            fmt::format("{} (indexed, but not in {})", tensor.name, files_[vain->second].path()));
      }
    } else if (!tensor.fits(found->second.view)) {
      report.wrong(fmt::format("{} is {}, must be {}", tensor.name, shape_text(found->second.view),
                               tensor.text()));
    }
    wanted.insert(std::move(tensor.name));
  }
  std::vector<std::string_view> extra;  // sorted: the map's own order says nothing to a reader
  for (const auto& [name, place] : tensors_) {
    if (!wanted.contains(name) && !is_ignored(name, config_)) extra.push_back(name);
  }
  std::sort(extra.begin(), extra.end());
  for (const std::string_view name : extra) report.extra(std::string(name));
}

Status Checkpoint::load(const Shard& shard, int threads, WeightBlock& weights) const {
  return put_slices(
      tensor_slices(config_, shard), config_, threads, weights,
      [&](const TensorSlice& slice, size_t bytes) {
        return weights.put(slice.offset, bytes,
                           [&](std::byte* to) { return read_elements(slice, to); });
      },
      [&](const TensorSlice& slice, float* to) { return read_scales(slice, to); });
}

Status Checkpoint::read_elements(const TensorSlice& slice, std::byte* out) const {
  M2_ASSIGN(const TensorView view,
            fetch(slice.name, slice.row_begin * slice.columns + slice.column_begin,
                  (slice.row_count - 1) * slice.columns + slice.column_count));
  return copy_slice(slice, view, out);
}

Status Checkpoint::read_scales(const TensorSlice& slice, float* out) const {
  const int64_t a_row = (slice.columns + kFp8BlockSize - 1) / kFp8BlockSize;
  const int64_t first = slice.row_begin / kFp8BlockSize;
  const int64_t last = (slice.row_begin + slice.row_count - 1) / kFp8BlockSize;
  M2_ASSIGN(const TensorView table,
            fetch(scale_name(slice.name), first * a_row, (last + 1 - first) * a_row));
  return copy_scales(slice, table, out);
}

// The tensor, of which elements [first, first + count) are in memory afterwards: a rank's rows, or
// for a slice of columns all that lies between its first and its last element.
Result<TensorView> Checkpoint::fetch(const std::string& name, int64_t first, int64_t count) const {
  const auto found = tensors_.find(name);
  // Every slice of every rank is of a tensor that check() has seen, so this is our own fault.
  M2_CHECK(found != tensors_.end(), "{} was not checked by open()", name);
  const TensorView& view = found->second.view;
  if (count <= 0) return view;  // the last ranks' slice of a small vocabulary
  const size_t element = dtype_bytes(view.dtype);
  *bytes_read_ += count * element;
  M2_TRY(files_[found->second.file].fetch(
      {static_cast<const std::byte*>(view.data) + first * element, count * element}));
  return view;
}

size_t Checkpoint::bytes() const {
  size_t sum = 0;
  for (const SafetensorsFile& file : files_) sum += file.bytes();
  return sum;
}

}  // namespace m2
