#include "cli/check_forward.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "base/divide_up.h"
#include "text/chat_template.h"

namespace m2::cli {
namespace {

// Known to every member of the family, and to the small checkpoint of this repository.
constexpr struct {
  const char *question, *expected;
} kQuestions[] = {{"What is the capital of France?", "Paris"},
                  {"Who won the world series in 2020?", "Dodgers"}};
constexpr int32_t kMostReplyTokens = 400;
constexpr std::chrono::seconds kPatience{120};
// A perplexity over this part of the vocabulary is guessing: trained models have less than a
// hundredth of it, broken ones more than the whole.
constexpr double kGuessingShare = 1.0 / 8;

// One sequence, alone on the device, a step at a time.
class Sequence {
 public:
  explicit Sequence(Executor& executor)
      : executor_(executor),
        capacity_(executor.capacity()),
        plans_(std::make_unique<Plans>(capacity_)) {}

  // Runs `tokens` after what ran before, and samples the given positions of them.
  Result<StepResult> run(std::span<const TokenId> tokens, const std::vector<SampleRow>& rows) {
    const auto count = static_cast<int32_t>(tokens.size());
    const int32_t blocks = divide_up(context_ + count, capacity_.block_tokens);
    if (blocks > capacity_.num_blocks) {
      return fail(ErrorKind::kUnavailable, "", "the KV cache holds {} blocks: too few to check",
                  capacity_.num_blocks);
    }
    StepPlan& step = plans_->step;
    step.clear();
    step.set_step(++number_);
    step.add_row() = {0, 0, count, context_, 0, blocks};
    std::copy(tokens.begin(), tokens.end(), step.add_tokens(count).begin());
    const std::span<int32_t> table = step.add_blocks(blocks);
    std::iota(table.begin(), table.end(), 0);
    SamplePlan& sample = plans_->sample;
    sample.clear();
    sample.step = number_;
    sample.rows = rows;
    executor_.forward(step);
    executor_.sample(sample);
    context_ += count;
    StepResult result;
    const Status status = executor_.wait(std::chrono::steady_clock::now() + kPatience, result);
    if (status) return result;
    (void)plans_.release();  // a rank that hangs reads them until the process ends
    return tl::unexpected(status.error());
  }
  int32_t context() const { return context_; }

 private:
  struct Plans {
    explicit Plans(const Capacity& capacity) : step(capacity) {}
    StepPlan step;
    SamplePlan sample;
  };

  Executor& executor_;
  const Capacity capacity_;
  std::unique_ptr<Plans> plans_;
  int32_t context_ = 0;
  uint64_t number_ = 0;
};

struct PromptRun {
  std::vector<float> logprobs;  // of the prompt's tokens after the first
  TokenId next = 0;
};

// The prompt in chunks, with the logprob of each of its tokens; its last row draws the reply's
// first.
Result<PromptRun> run_prompt(Sequence& sequence, const Capacity& capacity,
                             const std::vector<TokenId>& prompt) {
  const auto total = static_cast<int32_t>(prompt.size());
  const int32_t most = std::min(capacity.max_step_tokens, capacity.max_sample_rows);
  PromptRun out;
  for (int32_t begin = 0; begin < total; begin += most) {
    const int32_t count = std::min(most, total - begin);
    std::vector<SampleRow> rows;
    for (int32_t i = 0; i < count; ++i) {
      SampleRow row;
      row.token_index = i;
      row.position = begin + i + 1;
      row.draw = begin + i + 1 == total;
      row.num_logprobs = 0;
      row.temperature = 0;
      if (!row.draw) row.target = prompt[size_t(begin) + size_t(i) + 1];
      rows.push_back(row);
    }
    M2_ASSIGN(const StepResult result,
              sequence.run(
                  std::span(prompt).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
                  rows));
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].draw) {
        out.next = result.tokens[static_cast<size_t>(result.rows[i].tokens.begin)];
      } else {
        out.logprobs.push_back(result.rows[i].logprob);
      }
    }
  }
  return out;
}

Result<std::vector<TokenId>> render(const ModelFiles& files, const char* question) {
  json::Object message;
  message.set("role", "user");
  message.set("content", question);
  ChatInput input;
  input.messages = json::Array{json::Value(std::move(message))};
  input.add_generation_prompt = true;
  M2_ASSIGN(RenderedChat chat, files.chat_template->render(input));
  return std::move(chat.tokens);
}

// The likeliest token each time, until the model ends or has said what is expected.
Result<std::string> reply_to(Sequence& sequence, const ModelFiles& files, TokenId next,
                             const char* expected) {
  std::vector<TokenId> reply;
  std::string text;
  const auto ends = [&](TokenId id) {
    const auto& ids = files.eos_token_ids;
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  while (!ends(next) && reply.size() < kMostReplyTokens) {
    reply.push_back(next);
    text = files.tokenizer->decode(reply, true);
    if (text.find(expected) != std::string::npos) break;
    SampleRow row;
    row.position = sequence.context() + 1;
    row.temperature = 0;
    const TokenId token = kTokenFromDevice;
    M2_ASSIGN(const StepResult result, sequence.run(std::span(&token, 1), {row}));
    next = result.tokens[static_cast<size_t>(result.rows[0].tokens.begin)];
  }
  return text;
}

}  // namespace

Result<ForwardCheck> check_forward(Executor& executor, const ModelFiles& files) {
  if (!files.chat_template) {
    return fail(ErrorKind::kNotFound, "model", "without a chat template nothing can be asked");
  }
  ForwardCheck out;
  for (const auto& [question, expected] : kQuestions) {
    M2_ASSIGN(const std::vector<TokenId> prompt, render(files, question));
    Sequence sequence(executor);
    M2_ASSIGN(const PromptRun ran, run_prompt(sequence, executor.capacity(), prompt));
    out.logprobs.insert(out.logprobs.end(), ran.logprobs.begin(), ran.logprobs.end());
    M2_ASSIGN(std::string reply, reply_to(sequence, files, ran.next, expected));
    const bool right = reply.find(expected) != std::string::npos;
    out.answers.push_back({question, expected, std::move(reply), right});
  }
  const double sum = std::accumulate(out.logprobs.begin(), out.logprobs.end(), 0.0);
  out.perplexity = std::exp(-sum / std::max(1.0, static_cast<double>(out.logprobs.size())));
  out.bound = files.tokenizer->vocab_size() * kGuessingShare;
  return out;
}

Result<std::vector<float>> question_logprobs(Executor& executor, const ModelFiles& files) {
  std::vector<float> all;
  for (const auto& [question, expected] : kQuestions) {
    M2_ASSIGN(const std::vector<TokenId> prompt, render(files, question));
    Sequence sequence(executor);
    M2_ASSIGN(const PromptRun ran, run_prompt(sequence, executor.capacity(), prompt));
    all.insert(all.end(), ran.logprobs.begin(), ran.logprobs.end());
  }
  return all;
}

float largest_difference(std::span<const float> some, std::span<const float> others) {
  if (some.size() != others.size()) return INFINITY;
  float largest = 0;
  for (size_t i = 0; i < some.size(); ++i) {
    const float difference = std::abs(some[i] - others[i]);
    largest = std::isfinite(difference) ? std::max(largest, difference) : INFINITY;
  }
  return largest;
}

}  // namespace m2::cli
