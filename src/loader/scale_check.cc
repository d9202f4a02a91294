#include "loader/scale_check.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/divide_up.h"
#include "base/median.h"
#include "loader/checkpoint_index.h"
#include "loader/safetensors.h"

namespace m2 {
namespace {

constexpr std::string_view kScaleEnd = "_scale_inv";
constexpr int64_t kBlock = 128;
constexpr int64_t kRowsRead = 8;  // of a block's 128: its size within 2 %, from one short read
// A matrix is odd when its blocks differ by more than this factor, and by more than so many times
// what is usual for matrices of its kind.
constexpr double kLeastFactor = 1.6, kLeastSpreads = 12;
constexpr size_t kMostOdd = 10'000;

struct Place {
  const SafetensorsFile* file = nullptr;
  TensorView view;
};

struct Pair {
  std::string name;  // of the scales
  Place scales, weight;
};

// What the blocks of one matrix are like, as logarithms.
struct Sizes {
  std::vector<double> all;  // [rows, columns] of blocks; NaN for one without weights
  double middle = 0;
  // Of what is left when each column's own size is taken away: heads differ, and so may columns.
  double spread = 0, least = 0, most = 0;
  int64_t least_row = 0, most_row = 0;
};

const std::array<float, 256>& squares() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> made{};
    for (int code = 0; code < 256; ++code) {
      const float value = f8_to_float(static_cast<f8_t>(code));
      made[static_cast<size_t>(code)] = value * value;
    }
    return made;
  }();
  return table;
}

float scale_at(const TensorView& scales, int64_t i) {
  return scales.dtype == DType::kBF16 ? bf16_to_float(scales.as<bf16_t>()[i])
                                      : scales.as<float>()[i];
}

// "model.layers.#.self_attn.q_proj": the matrices that are held against each other.
std::string kind_of(std::string_view name) {
  std::string kind;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('.'));
    const bool number = part.find_first_not_of("0123456789") == part.npos;
    if (!kind.empty()) kind += '.';
    kind += number ? "#" : part;
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return kind;
}

void summarise(int64_t rows, int64_t columns, Sizes& sizes) {
  std::vector<double> whole, rest(sizes.all.size(), NAN), away;
  for (int64_t j = 0; j < columns; ++j) {
    std::vector<double> column;
    for (int64_t i = 0; i < rows; ++i) {
      const double size = sizes.all[static_cast<size_t>(i * columns + j)];
      if (!std::isnan(size)) column.push_back(size);
    }
    whole.insert(whole.end(), column.begin(), column.end());
    const double own = median(std::move(column));
    for (int64_t i = 0; i < rows; ++i) {
      const auto at = static_cast<size_t>(i * columns + j);
      rest[at] = sizes.all[at] - own;
      if (std::isnan(rest[at])) continue;
      away.push_back(std::abs(rest[at]));
      if (rest[at] < sizes.least) std::tie(sizes.least, sizes.least_row) = std::tuple(rest[at], i);
      if (rest[at] > sizes.most) std::tie(sizes.most, sizes.most_row) = std::tuple(rest[at], i);
    }
  }
  sizes.middle = median(std::move(whole));
  sizes.spread = 1.4826 * median(std::move(away));  // of normal values: their deviation
}

// Mean square of the codes in rows [begin, end) and columns [left, right); NaN where one is NaN.
double mean_square(const Place& weight, int64_t begin, int64_t end, int64_t left, int64_t right) {
  const auto* codes = static_cast<const uint8_t*>(weight.view.data);
  double sum = 0;
  for (int64_t row = begin; row < end; ++row) {
    const uint8_t* line = codes + row * weight.view.shape[1];
    float part = 0;
    for (int64_t k = left; k < right; ++k) part += squares()[line[k]];
    sum += part;
  }
  return sum / static_cast<double>((end - begin) * (right - left));
}

Status fetch_rows(const Place& place, int64_t begin, int64_t end) {
  const size_t row = place.view.bytes() / static_cast<size_t>(place.view.shape[0]);
  const auto* data = static_cast<const std::byte*>(place.view.data);
  return place.file->fetch(
      {data + static_cast<size_t>(begin) * row, static_cast<size_t>(end - begin) * row});
}

// Of one matrix; `broken` gets a line when it holds what is no number.
Result<Sizes> measure(const Pair& pair, std::vector<std::string>& broken) {
  const int64_t rows = pair.weight.view.shape[0], columns = pair.weight.view.shape[1];
  const int64_t tile_rows = pair.scales.view.shape[0], tiles = pair.scales.view.shape[1];
  M2_TRY(fetch_rows(pair.scales, 0, tile_rows));
  Sizes sizes;
  for (int64_t i = 0; i < tile_rows; ++i) {
    const int64_t begin = i * kBlock, end = std::min(rows, begin + kRowsRead);
    M2_TRY(fetch_rows(pair.weight, begin, end));
    for (int64_t j = 0; j < tiles; ++j) {
      const float scale = scale_at(pair.scales.view, i * tiles + j);
      const double square =
          mean_square(pair.weight, begin, end, j * kBlock, std::min(columns, (j + 1) * kBlock));
      if (!(scale > 0) || !std::isfinite(scale)) {
        broken.push_back(
            fmt::format("{} [{}, {}] is {}, no positive number", pair.name, i, j, scale));
        return Sizes{};
      }
      if (!std::isfinite(square)) {
        broken.push_back(fmt::format("the weight of {} holds NaN", pair.name));
        return Sizes{};
      }
      sizes.all.push_back(square > 0 ? std::log(scale) + 0.5 * std::log(square) : NAN);
    }
  }
  summarise(tile_rows, tiles, sizes);
  return sizes;
}

// FP8 matrices with their scales, as far as the shapes fit: other checks tell of the rest.
std::vector<Pair> pairs_of(const std::vector<SafetensorsFile>& files) {
  std::unordered_map<std::string_view, Place> places;
  for (const SafetensorsFile& file : files) {
    for (const NamedTensor& tensor : file.tensors()) places[tensor.name] = {&file, tensor.view};
  }
  std::vector<Pair> pairs;
  for (const auto& [name, scales] : places) {
    if (!name.ends_with(kScaleEnd)) continue;
    const auto weight = places.find(name.substr(0, name.size() - kScaleEnd.size()));
    if (weight == places.end()) continue;
    const TensorView &codes = weight->second.view, &table = scales.view;
    const bool fits = codes.dtype == DType::kF8E4M3 && codes.rank == 2 && table.rank == 2 &&
                      codes.shape[0] > 0 && codes.shape[1] > 0 &&
                      (table.dtype == DType::kF32 || table.dtype == DType::kBF16) &&
                      table.shape[0] == divide_up(codes.shape[0], kBlock) &&
                      table.shape[1] == divide_up(codes.shape[1], kBlock);
    if (fits) pairs.push_back({std::string(name), scales, weight->second});
  }
  return pairs;
}

// What is odd, of matrices of one kind: one that was changed does not hide in its own spread.
void compare(const std::vector<Pair>& pairs, const std::vector<Sizes>& sizes, ScaleCheck& out) {
  std::map<std::string, std::vector<size_t>> kinds;
  for (size_t i = 0; i < pairs.size(); ++i) kinds[kind_of(pairs[i].name)].push_back(i);
  for (const auto& [kind, members] : kinds) {
    std::vector<double> spreads, middles;
    for (const size_t i : members) {
      spreads.push_back(sizes[i].spread);
      middles.push_back(sizes[i].middle);
    }
    const double most = std::max(std::log(kLeastFactor), kLeastSpreads * median(spreads));
    const double usual = median(middles);
    for (const size_t i : members) {
      const Sizes& s = sizes[i];
      if (s.all.empty() || s.most - s.least <= most) continue;
      // Of two rows neither is the odd one by itself: the one that is unlike other matrices.
      const double lean = pairs[i].scales.view.shape[0] > 2 ? s.most + s.least : s.middle - usual;
      const bool above = lean > 0;
      out.odd.push_back(
          {pairs[i].name, above ? s.most_row : s.least_row, std::exp(s.most - s.least)});
    }
  }
  std::sort(out.odd.begin(), out.odd.end(),
            [](const auto& a, const auto& b) { return a.factor > b.factor; });
  if (out.odd.size() > kMostOdd) out.odd.resize(kMostOdd);
}

}  // namespace

Result<ScaleCheck> check_scales(const std::string& folder, int threads) {
  M2_ASSIGN(const CheckpointIndex index, read_checkpoint_index(folder));
  std::vector<SafetensorsFile> files;
  for (const std::string& name : index.files) {
    M2_ASSIGN(SafetensorsFile file, SafetensorsFile::open(fmt::format("{}/{}", folder, name)));
    files.push_back(std::move(file));
  }
  const std::vector<Pair> pairs = pairs_of(files);
  std::vector<Sizes> sizes(pairs.size());
  ScaleCheck out;
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status status;
  const auto work = [&] {
    std::vector<std::string> broken;
    for (size_t i = next++; i < pairs.size(); i = next++) {
      auto measured = measure(pairs[i], broken);
      if (measured) {
        sizes[i] = std::move(*measured);
        continue;
      }
      std::lock_guard lock(mutex);
      status = tl::unexpected(measured.error());
      return;
    }
    std::lock_guard lock(mutex);
    out.broken.insert(out.broken.end(), broken.begin(), broken.end());
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  }
  M2_TRY(status);
  std::sort(out.broken.begin(), out.broken.end());
  out.tensors = static_cast<int64_t>(pairs.size());
  for (const Sizes& s : sizes) out.blocks += static_cast<int64_t>(s.all.size());
  compare(pairs, sizes, out);
  return out;
}

}  // namespace m2
