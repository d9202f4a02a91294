#include "server/session.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/random.h"

namespace m2 {

// What is known of a choice while it runs; `pending` has not been given to the writer yet.
struct Session::Choice {
  explicit Choice(const ChoiceTextRules& rules) : text(rules) {}

  ChoiceText text;
  ReplyPiece pending;
  bool emitted = false, done = false;
  int32_t completion_tokens = 0, tokens_since_piece = 0;
  std::optional<Clock::time_point> first_token;
  Clock::time_point last_token;
};

Session::Session(SessionPlan plan, RequestId first, SessionHost& host, ServerMetrics& metrics,
                 ThreadPool& pool)
    : plan_(std::move(plan)),
      first_(first),
      seed_(plan_.options.seed ? *plan_.options.seed : random_bits()),
      host_(host),
      metrics_(metrics),
      strand_(std::make_shared<Strand>(pool)) {
  const size_t count = plan_.prompts.size() * static_cast<size_t>(plan_.options.n);
  for (size_t i = 0; i < count; ++i) {
    choices_.push_back(std::make_unique<Choice>(plan_.text));
    choices_.back()->pending.choice = static_cast<int32_t>(i);
  }
  for (const auto& prompt : plan_.prompts) {
    usage_.prompt_tokens += static_cast<int32_t>(prompt.size());
  }
  open_choices_ = choices();
}

Session::~Session() = default;

Request Session::make_request(int32_t choice) const {
  const int32_t prompt = prompt_of(choice);
  const GenerationOptions& options = plan_.options;
  Request request;
  request.id = first_ + static_cast<RequestId>(choice);
  request.prompt = plan_.prompts[prompt];
  request.sampling = options.sampling;
  request.sampling.seed = seed_ + static_cast<uint64_t>(choice % options.n);
  request.stop = options.stop;
  request.stop.max_tokens = std::max(1, plan_.max_tokens[prompt]);
  request.stop.eos_token_ids = plan_.eos_token_ids;
  request.priority = options.priority;
  request.client = plan_.client;
  request.cache_salt = options.cache_salt;
  if (choice % options.n == 0) request.prompt_logprobs = options.prompt_logprobs;
  if (scores_alone(prompt)) draw_last_of_prompt(request);
  return request;
}

// A text that is scored and not continued: its last token is "drawn", with nothing else allowed.
// The draw gives that token's logprob, and a text that fills the context needs no room behind it.
bool Session::scores_alone(int32_t prompt) const {
  return plan_.max_tokens[prompt] == 0 && plan_.prompts[prompt].size() > 1;
}

void Session::draw_last_of_prompt(Request& request) {
  request.sampling = {};
  request.sampling.allowed_token_ids = {request.prompt.back()};
  request.sampling.num_logprobs = request.prompt_logprobs;
  request.stop = {};
  request.stop.max_tokens = 1;
  request.prompt.pop_back();
}

void Session::post_output(int32_t choice, RequestOutput output) {
  // A std::function is copied, an output should not be.
  auto shared = std::make_shared<RequestOutput>(std::move(output));
  strand_->post([self = shared_from_this(), choice, shared] {
    if (!self->ended_) self->take(choice, std::move(*shared));
  });
}

void Session::post_failure(Error error) {
  strand_->post([self = shared_from_this(), error = std::move(error)] {
    if (!self->ended_) self->fail(error);
  });
}

void Session::post_abandon() {
  strand_->post([self = shared_from_this()] {
    if (self->ended_) return;
    self->cancel_open(FinishReason::kAbort);
    self->end();
  });
}

void Session::take(int32_t index, RequestOutput output) {
  Choice& choice = *choices_[index];
  if (choice.done) return;  // ended by a stop string: the engine's news are old
  if (output.error) return fail(*output.error);
  if (index % plan_.options.n == 0 && output.cached_tokens > 0) {
    usage_.cached_tokens += output.cached_tokens;
  }
  if (!output.prompt_logprobs.empty()) {
    plan_.writer->prompt_logprobs(prompt_of(index), std::move(output.prompt_logprobs));
  }
  if (scores_alone(prompt_of(index)) && !output.logprobs.empty()) {
    plan_.writer->prompt_logprobs(prompt_of(index), std::move(output.logprobs));
  }
  note_times(choice, output.tokens.size());
  take_tokens(choice, output);
  if (choice.pending.finish != FinishReason::kNone) {
    if (!output.finished()) host_.cancel_choice(first_, index);
    finish_choice(index, choice.pending.finish);
  } else if (plan_.writer->streams()) {
    const bool due = !choice.emitted || choice.tokens_since_piece >= plan_.stream_interval;
    const bool something = !choice.text.pending().empty() ||
                           (plan_.writer->wants_every_token() && !choice.pending.tokens.empty());
    if (due && something) emit(index);
  }
  if (open_choices_ == 0) {
    plan_.writer->end(usage_);
    end();
  }
}

void Session::note_times(Choice& choice, size_t tokens) {
  if (tokens == 0) return;
  const int32_t engine = plan_.engines[choice.pending.choice];
  const auto now = Clock::now();
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  if (!choice.first_token) {
    choice.first_token = now;
    metrics_.first_token(engine, seconds(now - plan_.arrival));
    if (tokens > 1) metrics_.next_tokens(engine, 0, static_cast<int32_t>(tokens) - 1);
  } else {
    metrics_.next_tokens(engine, seconds(now - choice.last_token), static_cast<int32_t>(tokens));
  }
  choice.last_token = now;
}

void Session::take_tokens(Choice& choice, const RequestOutput& output) {
  ReplyPiece& pending = choice.pending;
  const bool nothing_wanted = plan_.max_tokens[prompt_of(pending.choice)] == 0;
  for (size_t i = 0; i < output.tokens.size() && !nothing_wanted; ++i) {
    const TokenId token = output.tokens[i];
    ++choice.completion_tokens;
    ++choice.tokens_since_piece;
    ++usage_.completion_tokens;
    pending.tokens.push_back(token);
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move): a pending piece that was moved is a new one
    if (i < output.logprobs.size()) pending.logprobs.push_back(output.logprobs[i]);
    const bool ends = output.finish == FinishReason::kStop && output.stop_token == token &&
                      i + 1 == output.tokens.size();
    if (ends) {
      choice.text.push_stop_token(token);
    } else if (const std::string* stop = choice.text.push(token)) {
      pending.finish = FinishReason::kStop;
      pending.cause = *stop;
      return;
    }
  }
  if (output.finish == FinishReason::kNone) return;
  pending.finish = nothing_wanted ? FinishReason::kLength : output.finish;
  if (nothing_wanted) return choice.text.finish();
  // The model's own end says nothing more; a token that the client named does.
  const auto& named = plan_.options.stop.stop_token_ids;
  if (output.stop_token &&
      std::find(named.begin(), named.end(), *output.stop_token) != named.end()) {
    pending.cause = *output.stop_token;
  }
  choice.text.finish();
}

void Session::finish_choice(int32_t index, FinishReason reason) {
  Choice& choice = *choices_[index];
  choice.done = true;
  --open_choices_;
  emit(index);
  count_ended(index, reason);
}

void Session::count_ended(int32_t index, FinishReason reason) {
  const Choice& choice = *choices_[index];
  const auto now = Clock::now();
  metrics_.choice_ended(
      plan_.engines[index], reason,
      {.arrival = plan_.arrival,
       .first_token = choice.first_token.value_or(now),
       .last_token = choice.last_token,
       .end = now,
       .prompt_tokens = static_cast<int32_t>(plan_.prompts[prompt_of(index)].size()),
       .completion_tokens = choice.completion_tokens,
       .first_choice = index % plan_.options.n == 0});
}

void Session::emit(int32_t index) {
  Choice& choice = *choices_[index];
  ReplyPiece piece = std::move(choice.pending);
  choice.pending = {};
  choice.pending.choice = index;
  piece.delta = choice.text.take_pending();
  piece.tool_calls = choice.text.tool_calls();
  usage_.reasoning_tokens += piece.delta.reasoning_tokens;
  choice.emitted = true;
  choice.tokens_since_piece = 0;
  plan_.writer->piece(std::move(piece), usage_);
}

void Session::cancel_open(FinishReason reason) {
  // First: who is still handing choices to the engine looks at this afterwards, and cancels too.
  ended_ = true;
  for (int32_t i = 0; i < choices(); ++i) {
    Choice& choice = *choices_[i];
    if (choice.done) continue;
    choice.done = true;
    host_.cancel_choice(first_, i);
    count_ended(i, reason);
  }
  open_choices_ = 0;
}

void Session::fail(const Error& error) {
  cancel_open(error.kind == ErrorKind::kInternal ? FinishReason::kError : FinishReason::kAbort);
  plan_.writer->fail(error);
  end();
}

void Session::end() {
  ended_ = true;
  host_.session_ended(first_, choices());
}

}  // namespace m2
