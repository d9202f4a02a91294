#include "tests/e2e/echo_executor.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"

namespace m2 {
namespace {

constexpr std::string_view kRoleMarker = "]~b]";
constexpr std::string_view kReplyMarker = "reply:";

}  // namespace

EchoExecutor::EchoExecutor(Capacity capacity, const Tokenizer& tokenizer, TokenId end_token)
    : capacity_(capacity),
      tokenizer_(tokenizer),
      end_token_(end_token),
      role_token_(tokenizer.token_id(kRoleMarker).value_or(-1)),
      kv_(static_cast<size_t>(capacity.num_blocks) * capacity.block_tokens, -1),
      last_token_(capacity.max_sequences, -1),
      exchanges_(capacity.max_sequences) {}

TokenId& EchoExecutor::cell(const StepRow& row, int32_t position) {
  const int32_t index = position / capacity_.block_tokens;
  M2_CHECK(index < row.num_blocks, "position {} lies past the {} blocks of its row", position,
           row.num_blocks);
  const int32_t block = plan_->blocks()[row.first_block + index];
  M2_CHECK(block >= 0 && block < capacity_.num_blocks, "block {} of {}", block,
           capacity_.num_blocks);
  return kv_[static_cast<size_t>(block) * capacity_.block_tokens +
             position % capacity_.block_tokens];
}

void EchoExecutor::forward(const StepPlan& plan) {
  plan_ = &plan;
  for (const StepRow& row : plan.rows()) {
    for (int32_t i = 0; i < row.num_tokens; ++i) {
      TokenId token = plan.tokens()[row.first_token + i];
      if (token == kTokenFromDevice) token = last_token_[row.slot];
      cell(row, row.context_tokens + i) = token;
    }
  }
}

void EchoExecutor::sample(const SamplePlan& plan) {
  StepResult& result = done_.emplace_back();
  result.step = plan.step;
  for (const SampleRow& row : plan.rows) add_row(plan, row, result);
}

Status EchoExecutor::wait(Deadline, StepResult& result) {
  M2_CHECK(!done_.empty(), "wait() without a sampled step");
  if (step_time_.count() > 0) {
    step_end_ = std::max(step_end_ + step_time_, std::chrono::steady_clock::now());
    std::this_thread::sleep_until(step_end_);
  }
  result = std::move(done_.front());
  done_.pop_front();
  return {};
}

void EchoExecutor::add_row(const SamplePlan& plan, const SampleRow& row, StepResult& result) {
  SampledRow& out = result.rows.emplace_back();
  TokenId token = row.target;
  if (row.draw) {
    const auto rows = plan_->rows();
    const auto step_row = std::find_if(rows.begin(), rows.end(), [&](const StepRow& candidate) {
      return row.token_index >= candidate.first_token &&
             row.token_index < candidate.first_token + candidate.num_tokens;
    });
    M2_CHECK(step_row != rows.end(), "a sample of token {} of no row", row.token_index);
    read_context(*step_row, row.position);
    token = permitted(plan, row, next_token(row.slot));
    last_token_[row.slot] = token;
    out.tokens = {static_cast<int32_t>(result.tokens.size()), 1};
    result.tokens.push_back(token);
  }
  // The reply is certain: logprob 0, and all others far below.
  out.rank = 1;
  out.top.begin = static_cast<int32_t>(result.top_ids.size());
  const auto add_top = [&](TokenId id) {
    result.top_ids.push_back(id);
    result.top_logprobs.push_back(id == token ? 0.0f : -100.0f);
    ++out.top.count;
  };
  if (row.num_logprobs > 0) add_top(token);
  for (TokenId id = 0; out.top.count < row.num_logprobs && id < capacity_.vocab_size; ++id) {
    if (id != token) add_top(id);
  }
  for (int32_t i = 0; i < row.logprob_ids.count; ++i) {
    add_top(plan.ids[row.logprob_ids.begin + i]);
  }
}

void EchoExecutor::read_context(const StepRow& row, int32_t count) {
  context_.resize(count);
  // All of it, block by block, each step: a block that went wrong at any time is a wrong reply.
  for (int32_t i = 0; i < count; i += capacity_.block_tokens) {
    const int32_t tokens = std::min(capacity_.block_tokens, count - i);
    std::copy_n(&cell(row, i), tokens, context_.begin() + i);
  }
}

TokenId EchoExecutor::next_token(int32_t slot) {
  Exchange& exchange = exchanges_[slot];
  const bool known = !exchange.prompt.empty() && exchange.prompt.size() <= context_.size() &&
                     std::equal(exchange.prompt.begin(), exchange.prompt.end(), context_.begin()) &&
                     continues(exchange.reply, exchange.prompt.size());
  if (!known) find_exchange(exchange);
  const size_t said = context_.size() - exchange.prompt.size();
  return said < exchange.reply.size() ? exchange.reply[said] : end_token_;
}

// What follows the prompt in context_ is the reply's beginning, then end tokens (under ignore_eos
// a sequence goes on).
bool EchoExecutor::continues(std::span<const TokenId> reply, size_t prompt_tokens) const {
  const auto rest = std::span(context_).subspan(prompt_tokens);
  const size_t said = std::min(rest.size(), reply.size());
  const auto ends = rest.subspan(said);
  return std::equal(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(said),
                    reply.begin()) &&
         std::all_of(ends.begin(), ends.end(), [&](TokenId token) { return token == end_token_; });
}

// Where does the prompt end and the reply begin? After a recompute both come as one. The first
// turn of the assistant that goes on as its own prompt asks is it: an earlier one, of the history,
// is followed by more than its reply and end tokens.
void EchoExecutor::find_exchange(Exchange& out) const {
  const std::span<const TokenId> context = context_;
  for (size_t i = 0; i + 1 < context.size(); ++i) {
    if (context[i] != role_token_) continue;
    // The opening of the assistant's turn: the role, a line break, and mostly "<think>\n".
    size_t end = i + 1;
    std::string opening;
    while (end < context.size() && opening.size() < 3) {
      opening += tokenizer_.token_bytes(context[end++]);
    }
    if (opening != "ai\n") continue;
    if (end + 1 < context.size() && tokenizer_.token_bytes(context[end]) == "<think>" &&
        tokenizer_.token_bytes(context[end + 1]) == "\n") {
      end += 2;
    }
    std::vector<TokenId> reply = reply_to(context.first(end));
    if (!continues(reply, end)) continue;
    out = {{context.begin(), context.begin() + static_cast<std::ptrdiff_t>(end)}, std::move(reply)};
    return;
  }
  // No conversation: plain text to be continued.
  out = {{context.begin(), context.end()}, reply_to(context)};
}

std::vector<TokenId> EchoExecutor::reply_to(std::span<const TokenId> prompt) const {
  // The last turn that opens with "user".
  std::string message;
  std::string turn;
  const auto close_turn = [&] {
    if (turn.starts_with("user\n")) message = turn.substr(5);
    turn.clear();
  };
  bool in_turn = false, any_turn = false;
  for (const TokenId id : prompt) {
    if (id == role_token_ || id == end_token_) {
      close_turn();
      in_turn = id == role_token_;
      any_turn = any_turn || in_turn;
    } else if (in_turn || !any_turn) {
      turn += tokenizer_.token_bytes(id);
    }
  }
  if (any_turn) {
    close_turn();
  } else {
    message = turn;
  }
  const size_t marker = message.find(kReplyMarker);
  if (marker == std::string::npos) return {};
  const auto reply =
      tokenizer_.encode(message.substr(marker + kReplyMarker.size()), AddedTokens::kParse);
  return reply ? *reply : std::vector<TokenId>{};
}

// A draw keeps to what the request allows: instead of a token that is banned or masked, the first
// one that is not.
TokenId EchoExecutor::permitted(const SamplePlan& plan, const SampleRow& row, TokenId token) const {
  const auto among = [&](Range range, TokenId id) {
    const auto begin = plan.ids.begin() + range.begin;
    return std::find(begin, begin + range.count, id) != begin + range.count;
  };
  const auto allowed = [&](TokenId id) {
    if (row.allowed.count > 0 && !among(row.allowed, id)) return false;
    if (row.mask >= 0 && (plan.masks[row.mask + id / 32] >> (id % 32) & 1u) == 0) return false;
    return !among(row.banned, id);
  };
  if (allowed(token)) return token;
  for (TokenId id = 0; id < capacity_.vocab_size; ++id) {
    if (allowed(id)) return id;
  }
  return token;
}

}  // namespace m2
