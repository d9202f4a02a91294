// The forward pass against transformers' MiniMaxM2 in fp32: tests/golden/logits (its README.md has
// the format) holds, for every position of 20 prompts, the 8 best logits and 32 columns.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "json/json.h"
#include "tests/backend/cpu/model_runner.h"
#include "tests/backend/cpu/reference_ops.h"
#include "tests/temporary_folder.h"

namespace m2::test {
namespace {

constexpr double kTolerance = 1e-3;  // of the position's standard deviation
// Two experts nearer to each other than this are a matter of rounding, to the golden's maker too.
constexpr double kRouterTie = 1e-6;

struct Position {
  std::vector<int32_t> top_ids;
  std::vector<float> top;
  std::vector<float> columns;
  float mean, deviation;
};

struct Prompt {
  std::vector<int32_t> tokens;
  std::vector<Position> positions;
};

struct Golden {
  uint32_t vocab = 0;
  std::vector<int32_t> columns;
  std::vector<Prompt> prompts;
};

class Reader {
 public:
  explicit Reader(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }
  bool empty() const { return bytes_.empty(); }
  template <typename T>
  std::vector<T> many(size_t count) {
    std::vector<T> values(count);
    EXPECT_LE(at_ + count * sizeof(T), bytes_.size()) << "the golden file is cut off";
    std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return values;
  }
  template <typename T>
  T one() {
    return many<T>(1)[0];
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

std::string source_path(const std::string& path) { return std::string(M2_SOURCE_DIR "/") + path; }

// No prompts when the file is not there.
Golden read_golden(const std::string& name) {
  Golden golden;
  Reader in(source_path("tests/golden/logits/" + name + ".bin"));
  if (in.empty()) return golden;
  const auto magic = in.many<char>(8);
  EXPECT_EQ(std::string(magic.begin(), magic.end()), "M2LOGITS");
  golden.vocab = in.one<uint32_t>();
  const auto prompts = in.one<uint32_t>(), top = in.one<uint32_t>(), columns = in.one<uint32_t>();
  golden.columns = in.many<int32_t>(columns);
  for (uint32_t p = 0; p < prompts; ++p) {
    Prompt& prompt = golden.prompts.emplace_back();
    prompt.tokens = in.many<int32_t>(in.one<uint32_t>());
    for (size_t t = 0; t < prompt.tokens.size(); ++t) {
      Position& position = prompt.positions.emplace_back();
      position.top_ids = in.many<int32_t>(top);
      position.top = in.many<float>(top);
      position.columns = in.many<float>(columns);
      position.mean = in.one<float>();
      position.deviation = in.one<float>();
    }
  }
  return golden;
}

struct Place {
  size_t prompt, position;
};

struct Comparison {
  int64_t positions = 0;
  int64_t other_top = 0;    // positions whose best token is another
  double largest = 0;       // difference of a logit, in standard deviations
  std::vector<Place> over;  // positions past the tolerance
  bool good() const { return other_top == 0 && largest <= kTolerance; }
};

// The largest difference of a logit that the golden file has, in standard deviations.
double difference(const Golden& golden, const Position& want, const Logits& logits) {
  double largest = 0;
  const auto note = [&](int32_t id, float value) {
    largest = std::max(largest, std::abs(double{logits[id]} - value) / want.deviation);
  };
  for (size_t i = 0; i < want.top.size(); ++i) note(want.top_ids[i], want.top[i]);
  for (size_t i = 0; i < want.columns.size(); ++i) note(golden.columns[i], want.columns[i]);
  return largest;
}

void compare(const Golden& golden, size_t index, const std::vector<Logits>& logits,
             Comparison& result) {
  const Prompt& prompt = golden.prompts[index];
  ASSERT_EQ(logits.size(), prompt.positions.size());
  for (size_t t = 0; t < logits.size(); ++t) {
    const auto best = std::max_element(logits[t].begin(), logits[t].end()) - logits[t].begin();
    if (best != prompt.positions[t].top_ids[0]) ++result.other_top;
    const double found = difference(golden, prompt.positions[t], logits[t]);
    result.largest = std::max(result.largest, found);
    if (found > kTolerance) result.over.push_back({index, t});
    ++result.positions;
  }
}

Comparison compare_all(const Golden& golden, Runner& runner, size_t prompts) {
  Comparison result;
  for (size_t i = 0; i < std::min(prompts, golden.prompts.size()); ++i) {
    compare(golden, i, runner.sequence(golden.prompts[i].tokens, 128), result);
  }
  return result;
}

OpsLimits limits_for(const ModelConfig& config, const Golden& golden) {
  OpsLimits limits = small_limits(config);
  size_t longest = 0;
  for (const Prompt& prompt : golden.prompts) longest = std::max(longest, prompt.tokens.size());
  limits.num_blocks = static_cast<int32_t>(longest / 16 + 1);
  return limits;
}

// A position past the tolerance is excused where two experts tie so nearly that rounding chooses
// one: the reference in double knows how nearly, and must agree with one of the two sides.
void check_tie(const Golden& golden, const Model& model, const Place& place, Runner& ours) {
  std::vector<int32_t> tokens = golden.prompts[place.prompt].tokens;
  tokens.resize(place.position + 1);
  auto ops = std::make_unique<ReferenceOps>(model.config, limits_for(model.config, golden));
  const ReferenceOps& reference = *ops;
  Runner exact_runner(model, std::move(ops));
  const Logits exact = exact_runner.sequence(tokens, 1000).back();
  const Logits found = ours.sequence(tokens, 128).back();
  EXPECT_LT(reference.router_margin(place.position), kRouterTie)
      << "prompt " << place.prompt << ", position " << place.position;
  double apart = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    apart = std::max(apart, std::abs(double{found[i]} - exact[i]));
  }
  const Position& want = golden.prompts[place.prompt].positions[place.position];
  EXPECT_TRUE(apart <= 1e-3 || difference(golden, want, exact) <= kTolerance)
      << "prompt " << place.prompt << ", position " << place.position << ": " << apart;
}

// Made anew by its script (numpy only) rather than kept: it is the same bytes everywhere.
std::string random_checkpoint() {
  static const TemporaryFolder temporary;
  static const std::string folder = [] {
    const std::string venv = source_path(".venv/bin/python");
    const std::string python = std::filesystem::exists(venv) ? venv : "python3";
    const std::string path = temporary / "random";
    const std::string command = python + " " +
                                source_path("tools/make_golden/random_checkpoint.py") + " " + path +
                                " >/dev/null 2>&1";
    return std::system(command.c_str()) == 0 ? path : std::string();
  }();
  return folder;
}

void check_checkpoint(const std::string& folder, const std::string& name) {
  const Golden golden = read_golden(name);
  if (golden.prompts.empty()) GTEST_SKIP() << "tests/golden/logits/" << name << ".bin is not there";
  const auto model = load_model(folder);
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_EQ(golden.vocab, uint32_t(model->config.vocab_size));
  EXPECT_EQ(golden.prompts.size(), 20u);
  for (const Kernels* kernels : {&plain_kernels(), &fast_kernels()}) {
    // The plain kernels take seconds a prompt: a few of them show what they can.
    const size_t prompts = kernels == &plain_kernels() ? 3 : 1000;
    Runner runner(*model, limits_for(model->config, golden), *kernels);
    const Comparison result = compare_all(golden, runner, prompts);
    EXPECT_EQ(result.other_top, 0) << kernels->name;
    ASSERT_LE(result.over.size(), 3u) << kernels->name << ": largest " << result.largest;
    for (const Place& place : result.over) check_tie(golden, *model, place, runner);
    std::printf("%s, %s: %ld positions, largest difference %.2e standard deviations, %zu ties\n",
                name.c_str(), kernels->name, long(result.positions), result.largest,
                result.over.size());
  }
}

// Greedy replies, token by token from the device's own last token. Where the reference's best two
// were nearly equal on the way, another order of sums may choose otherwise.
void check_replies(const std::string& folder, const std::string& name) {
  std::ifstream file(source_path("tests/golden/logits/" + name + ".json"));
  if (!file) GTEST_SKIP() << "tests/golden/logits/" << name << ".json is not there";
  const auto golden = json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  ASSERT_TRUE(golden) << golden.error().message;
  const auto model = load_model(folder);
  ASSERT_TRUE(model) << model.error().message;
  Runner runner(*model, small_limits(model->config));
  int compared = 0;
  for (const json::Value& entry : golden->as_array()) {
    const auto ids = [&](const char* key) {
      std::vector<int32_t> list;
      for (const json::Value& id : entry.find(key)->as_array()) {
        list.push_back(static_cast<int32_t>(id.as_int()));
      }
      return list;
    };
    if (entry.find("smallest_gap")->as_double() < 1e-3) continue;
    const auto reply = ids("reply_ids");
    EXPECT_EQ(runner.greedy(ids("prompt_ids"), reply.size()), reply) << name;
    ++compared;
  }
  EXPECT_GE(compared, 5) << "too few replies are far from a tie";
}

TEST(Oracle, PocketReplies) { check_replies(source_path("models/pocket"), "pocket"); }

TEST(Oracle, RandomReplies) {
  const std::string folder = random_checkpoint();
  if (folder.empty()) GTEST_SKIP() << "random_checkpoint.py did not run: it needs numpy";
  check_replies(folder, "random");
}

TEST(Oracle, PocketCheckpoint) { check_checkpoint(source_path("models/pocket"), "pocket"); }

TEST(Oracle, RandomCheckpoint) {
  const std::string folder = random_checkpoint();
  if (folder.empty()) GTEST_SKIP() << "random_checkpoint.py did not run: it needs numpy";
  check_checkpoint(folder, "random");
}

// The oracle is worth something only if it notices what implementations have got wrong before.
struct Fault {
  std::string name;
  Faults faults;
};
class OracleNotices : public ::testing::TestWithParam<Fault> {};

TEST_P(OracleNotices, Fault) {
  Golden golden = read_golden("random");
  const std::string folder = random_checkpoint();
  if (golden.prompts.empty() || folder.empty()) GTEST_SKIP() << "no random checkpoint or golden";
  const auto model = load_model(folder);
  ASSERT_TRUE(model) << model.error().message;
  // What comes later does not change the first positions.
  golden.prompts[0].tokens.resize(12);
  golden.prompts[0].positions.resize(12);
  const OpsLimits limits = limits_for(model->config, golden);
  Runner runner(*model, std::make_unique<ReferenceOps>(model->config, limits, GetParam().faults));
  const Comparison result = compare_all(golden, runner, 1);
  EXPECT_EQ(result.good(), GetParam().name == "None")
      << "largest difference " << result.largest << ", other top tokens " << result.other_top;
}

INSTANTIATE_TEST_SUITE_P(
    Each, OracleNotices,
    ::testing::Values(Fault{"None", {}},
                      Fault{"RotatingAllDimensions", {.rotate_all_dimensions = true}},
                      Fault{"NormOfEachHead", {.norm_each_head = true}},
                      Fault{"BiasInTheExpertWeight", {.bias_in_weight = true}},
                      Fault{"NoRenormalisation", {.no_renormalisation = true}},
                      Fault{"ScaleAppliedTwice", {.scale_twice = true}},
                      Fault{"NormAfterRotation", {.norm_after_rotation = true}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace m2::test
