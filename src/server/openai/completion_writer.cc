// Completions: the reply, as a stream of chunks or as one document.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/openai/completions.h"
#include "server/openai/errors.h"
#include "server/openai/stream.h"

namespace m2 {
namespace {

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// The four parallel lists of a completion's logprobs. `offset` goes on from piece to piece.
class LogprobLists {
 public:
  LogprobLists(const OpenAiReply& reply, size_t& offset) : reply_(reply), offset_(offset) {}

  void add_first_of_prompt(TokenId token) {  // nothing comes before it: it has none
    add_token(token);
    values_ += "null";
    tops_ += "null";
  }
  // `most`: of the best ones; what was computed may be more, for another list.
  void add(const TokenLogprobs& logprobs, size_t most = std::numeric_limits<size_t>::max()) {
    add_token(logprobs.token);
    append_logprob(values_, logprobs.logprob);
    note_top(logprobs.token, logprobs.logprob);
    for (size_t i = 0; i < std::min(most, logprobs.top.size()); ++i) {
      const auto& [token, logprob] = logprobs.top[i];
      if (token != logprobs.token) note_top(token, logprob);
    }
    add_tops();
  }
  void append_to(std::string& out) const {
    out += "{\"text_offset\":[" + offsets_ + "],\"token_logprobs\":[" + values_ + "],\"tokens\":[" +
           tokens_ + "],\"top_logprobs\":[" + tops_ + "]}";
  }

 private:
  void add_token(TokenId token) {
    if (!tokens_.empty()) {
      for (std::string* list : {&offsets_, &values_, &tokens_, &tops_}) *list += ',';
    }
    const std::string label = token_label(reply_, token);
    offsets_ += std::to_string(offset_);
    json::append_quoted(tokens_, label);
    offset_ += characters(label);
  }
  // Tokens of one text (parts of a character are all U+FFFD) are one member, as no object has two
  // of a name: with the best logprob, where the first of them stands.
  void note_top(TokenId token, float logprob) {
    std::string name;
    json::append_quoted(name, token_label(reply_, token));
    const auto [place, is_new] = places_.try_emplace(std::move(name), best_.size());
    if (is_new) {
      best_.emplace_back(&place->first, logprob);
    } else {
      float& known = best_[place->second].second;
      known = std::max(known, logprob);
    }
  }
  void add_tops() {
    char before = '{';
    for (const auto& [name, logprob] : best_) {
      tops_ += before;
      tops_ += *name;
      tops_ += ':';
      append_logprob(tops_, logprob);
      before = ',';
    }
    tops_ += '}';
    best_.clear();
    places_.clear();
  }

  const OpenAiReply& reply_;
  size_t& offset_;
  std::string offsets_, values_, tokens_, tops_;
  // Of one token's top: each text as JSON with its logprob, and its place among them.
  std::vector<std::pair<const std::string*, float>> best_;
  std::unordered_map<std::string, size_t> places_;
};

// What both writers share: a choice's text, logprobs and end.
class CompletionWriter : public ReplyWriter {
 public:
  CompletionWriter(OpenAiReply reply, CompletionReplyOptions options)
      : reply_(std::move(reply)),
        options_(std::move(options)),
        prompt_logprobs_(reply_.prompts.size()) {}

  bool wants_every_token() const override {
    return reply_.settings.return_token_ids || reply_.settings.logprobs;
  }
  void prompt_logprobs(int32_t prompt, std::vector<TokenLogprobs> logprobs) override {
    auto& all = prompt_logprobs_.at(static_cast<size_t>(prompt));
    std::move(logprobs.begin(), logprobs.end(), std::back_inserter(all));
  }

 protected:
  size_t prompt_of(int32_t choice) const {
    return static_cast<size_t>(choice) / static_cast<size_t>(options_.n);
  }
  std::string echoed_text(int32_t choice) const {
    return options_.echo ? options_.prompt_texts.at(prompt_of(choice)) : "";
  }

  // ,"text":…,"logprobs":…,"finish_reason":…,"stop_reason":…
  void append_members(std::string& out, const ReplyPiece& piece, bool with_prompt,
                      size_t& offset) const {
    out += ",\"text\":";
    json::append_quoted(
        out, with_prompt ? echoed_text(piece.choice) + piece.delta.content : piece.delta.content);
    out += ",\"logprobs\":";
    if (reply_.settings.logprobs) {
      LogprobLists lists(reply_, offset);
      if (with_prompt && options_.echo) {
        const auto& prompt = reply_.prompts.at(prompt_of(piece.choice));
        if (!prompt.empty()) lists.add_first_of_prompt(prompt[0]);
        const auto most = static_cast<size_t>(options_.logprobs);
        for (const auto& entry : prompt_logprobs_.at(prompt_of(piece.choice))) {
          lists.add(entry, most);
        }
      }
      for (const TokenLogprobs& entry : piece.logprobs) lists.add(entry);
      lists.append_to(out);
    } else {
      out += "null";
    }
    out += ",\"finish_reason\":";
    if (piece.finish == FinishReason::kNone) {
      out += "null";
    } else {
      json::append_quoted(out, finish_name(piece.finish));
    }
    out += ",\"stop_reason\":";
    append_cause(out, piece.cause);
  }

  void append_token_ids(std::string& out, const ReplyPiece& piece, bool with_prompt) const {
    if (!reply_.settings.return_token_ids) return;
    out += ",\"token_ids\":";
    append_ids(out, piece.tokens);
    if (!with_prompt) return;
    out += ",\"prompt_token_ids\":";
    append_ids(out, reply_.prompts.at(prompt_of(piece.choice)));
  }

  const OpenAiReply reply_;
  const CompletionReplyOptions options_;
  std::vector<std::vector<TokenLogprobs>> prompt_logprobs_;  // of each prompt
};

class CompletionStream : public CompletionWriter {
 public:
  CompletionStream(OpenAiReply reply, CompletionReplyOptions options)
      : CompletionWriter(std::move(reply), std::move(options)),
        stream_(reply_, "text_completion"),
        begun_(reply_.prompts.size() * static_cast<size_t>(options_.n)),
        offsets_(begun_.size()) {}

  bool streams() const override { return true; }

  void piece(ReplyPiece piece, const ReplyUsage& so_far) override {
    const auto choice = static_cast<size_t>(piece.choice);
    const bool first = !std::exchange(begun_[choice], true);
    std::string& out = stream_.open_choice(piece.choice);
    append_members(out, piece, first, offsets_[choice]);
    append_token_ids(out, piece, first);
    stream_.close_choice(reply_.settings.continuous_usage ? &so_far : nullptr);
    stream_.flush();
  }
  void end(const ReplyUsage& usage) override {
    stream_.end(reply_.settings.include_usage ? &usage : nullptr);
  }
  void fail(const Error& error) override { stream_.fail(error); }

 private:
  OpenAiStream stream_;
  std::vector<char> begun_;      // of each choice
  std::vector<size_t> offsets_;  // characters of each choice that logprobs were given for
};

class CompletionDocument : public CompletionWriter {
 public:
  CompletionDocument(OpenAiReply reply, CompletionReplyOptions options)
      : CompletionWriter(std::move(reply), std::move(options)),
        choices_(reply_.prompts.size() * static_cast<size_t>(options_.n)) {}

  bool streams() const override { return false; }

  void piece(ReplyPiece piece, const ReplyUsage&) override {
    // Of a document each choice has but one, at its end.
    choices_.at(static_cast<size_t>(piece.choice)) = std::move(piece);
  }

  void end(const ReplyUsage& usage) override {
    std::string out = "{\"id\":";
    json::append_quoted(out, reply_.id);
    out += fmt::format(",\"object\":\"text_completion\",\"created\":{},\"model\":", reply_.created);
    json::append_quoted(out, reply_.settings.model);
    out += ",\"choices\":[";
    for (const ReplyPiece& choice : choices_) {
      size_t offset = 0;
      if (out.back() != '[') out += ',';
      out += fmt::format("{{\"index\":{}", choice.choice);
      append_members(out, choice, true, offset);
      append_token_ids(out, choice, true);
      out += ",\"prompt_logprobs\":";
      if (options_.prompt_logprobs >= 0) {
        append_prompt_logprobs(out, reply_, prompt_logprobs_.at(prompt_of(choice.choice)),
                               static_cast<size_t>(options_.prompt_logprobs));
      } else {
        out += "null";
      }
      out += '}';
    }
    out += "],\"service_tier\":null,\"system_fingerprint\":null,\"usage\":";
    append_usage(out, usage);
    out += ",\"kv_transfer_params\":null}";
    reply_.exchange->reply({200, "application/json", std::move(out), {}});
  }
  void fail(const Error& error) override { reply_.exchange->reply(openai_error(error)); }

 private:
  std::vector<ReplyPiece> choices_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_completion_stream(OpenAiReply reply,
                                                    CompletionReplyOptions options) {
  return std::make_unique<CompletionStream>(std::move(reply), std::move(options));
}

std::unique_ptr<ReplyWriter> make_completion_document(OpenAiReply reply,
                                                      CompletionReplyOptions options) {
  return std::make_unique<CompletionDocument>(std::move(reply), std::move(options));
}

}  // namespace m2
