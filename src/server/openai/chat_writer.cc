#include "server/openai/chat_writer.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "server/openai/errors.h"
#include "server/openai/stream.h"

namespace m2 {
namespace {

std::string tool_call_id() { return "chatcmpl-tool-" + random_hex(32); }

// A reply that was cut short is not a call to act on, even if it holds one.
const char* finish_of(const ReplyPiece& piece) {
  if (piece.finish == FinishReason::kStop && piece.tool_calls > 0) return "tool_calls";
  return finish_name(piece.finish);
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
  json::append_quoted(out, text);
}

// Both names of the field: clients know one or the other.
void append_reasoning(std::string& out, const std::string& text) {
  append_member(out, "reasoning", text);
  append_member(out, "reasoning_content", text);
}

void append_call_delta(std::string& out, const ToolCallDelta& call) {
  out += fmt::format("{{\"index\":{}", call.index);
  if (call.first) {
    out += ",\"id\":";
    json::append_quoted(out, tool_call_id());
    out += ",\"type\":\"function\",\"function\":{\"name\":";
    json::append_quoted(out, call.name);
    out += ",\"arguments\":";
  } else {
    out += ",\"function\":{\"arguments\":";
  }
  json::append_quoted(out, call.arguments);
  out += "}}";
}

// Chunks of one kind each: reasoning, content, calls. Some clients read but one of a chunk.
class ChatStream : public ReplyWriter {
 public:
  ChatStream(OpenAiReply reply, ChatReplyOptions options)
      : reply_(std::move(reply)),
        options_(std::move(options)),
        stream_(reply_, "chat.completion.chunk"),
        begun_(static_cast<size_t>(options_.choices)) {}

  bool streams() const override { return true; }
  bool wants_every_token() const override {
    return options_.show_reasoning &&
           (reply_.settings.return_token_ids || reply_.settings.logprobs);
  }
  void prompt_logprobs(int32_t, std::vector<TokenLogprobs>) override {}

  void piece(ReplyPiece piece, const ReplyUsage& so_far) override {
    usage_ = reply_.settings.continuous_usage ? &so_far : nullptr;
    begin(piece.choice);
    if (!options_.show_reasoning) {
      piece.delta.reasoning.clear();
      piece.logprobs.clear();
      piece.tokens.clear();
    }
    ReplyDelta& delta = piece.delta;
    // What belongs to the piece as a whole goes with its last chunk.
    int left = !delta.reasoning.empty() + !delta.content.empty() + !delta.tool_calls.empty();
    if (!delta.reasoning.empty()) {
      append_reasoning(open(piece.choice), delta.reasoning);
      close(piece, --left == 0);
    }
    if (!delta.content.empty()) {
      append_member(open(piece.choice), "content", delta.content);
      close(piece, --left == 0);
    }
    if (!delta.tool_calls.empty()) {
      std::string& out = open(piece.choice);
      out += "\"tool_calls\":[";
      for (const ToolCallDelta& call : delta.tool_calls) {
        if (out.back() != '[') out += ',';
        append_call_delta(out, call);
      }
      out += ']';
      close(piece, true);
    } else if (delta.empty() && (piece.finish != FinishReason::kNone || !piece.tokens.empty())) {
      const bool said = piece.finish != FinishReason::kNone || wants_every_token();
      if (said) {
        open(piece.choice);
        close(piece, true);
      }
    }
    stream_.flush();
  }

  void end(const ReplyUsage& usage) override {
    stream_.end(reply_.settings.include_usage ? &usage : nullptr);
  }
  void fail(const Error& error) override { stream_.fail(error); }

 private:
  std::string& open(int32_t choice) {
    std::string& out = stream_.open_choice(choice);
    out += ",\"delta\":{";
    return out_ = &out, out;
  }

  void close(const ReplyPiece& piece, bool last) {
    std::string& out = *out_;
    out += "},\"logprobs\":";
    if (last && !piece.logprobs.empty()) {
      append_chat_logprobs(out, reply_, piece.logprobs);
    } else {
      out += "null";
    }
    out += ",\"finish_reason\":";
    if (last && piece.finish != FinishReason::kNone) {
      json::append_quoted(out, finish_of(piece));
      out += ",\"stop_reason\":";
      append_cause(out, piece.cause);
    } else {
      out += "null";
    }
    if (last && reply_.settings.return_token_ids && options_.show_reasoning) {
      out += ",\"token_ids\":";
      append_ids(out, piece.tokens);
    }
    stream_.close_choice(usage_);
  }

  // A choice's first chunk names the role; what it goes on from comes right after.
  void begin(int32_t choice) {
    if (std::exchange(begun_[static_cast<size_t>(choice)], true)) return;
    append_member(open(choice), "role", options_.role);
    append_member(*out_, "content", "");
    *out_ += "},\"logprobs\":null,\"finish_reason\":null";
    std::string members;
    if (reply_.settings.return_token_ids && !reply_.prompts.empty()) {
      members = ",\"prompt_token_ids\":";
      append_ids(members, reply_.prompts[0]);
    }
    stream_.close_choice(usage_, members);
    if (options_.echoed_text.empty()) return;
    append_member(open(choice), "content", options_.echoed_text);
    *out_ += "},\"logprobs\":null,\"finish_reason\":null";
    stream_.close_choice(usage_);
  }

  const OpenAiReply reply_;
  const ChatReplyOptions options_;
  OpenAiStream stream_;
  std::vector<char> begun_;            // of each choice
  std::string* out_ = nullptr;         // the event being written
  const ReplyUsage* usage_ = nullptr;  // in each chunk, where asked for
};

// Collects the pieces and writes one document.
class ChatDocument : public ReplyWriter {
 public:
  ChatDocument(OpenAiReply reply, ChatReplyOptions options)
      : reply_(std::move(reply)),
        options_(std::move(options)),
        choices_(static_cast<size_t>(options_.choices)) {}

  bool streams() const override { return false; }
  bool wants_every_token() const override { return false; }
  void prompt_logprobs(int32_t, std::vector<TokenLogprobs> logprobs) override {
    std::move(logprobs.begin(), logprobs.end(), std::back_inserter(prompt_logprobs_));
    has_prompt_logprobs_ = true;
  }

  void piece(ReplyPiece piece, const ReplyUsage&) override {
    ReplyPiece& whole = choices_[static_cast<size_t>(piece.choice)];
    append_delta(whole.delta, std::move(piece.delta));
    std::move(piece.logprobs.begin(), piece.logprobs.end(), std::back_inserter(whole.logprobs));
    whole.tokens.insert(whole.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    whole.finish = piece.finish;
    whole.cause = std::move(piece.cause);
    whole.tool_calls = piece.tool_calls;
  }

  void end(const ReplyUsage& usage) override;
  void fail(const Error& error) override { reply_.exchange->reply(openai_error(error)); }

 private:
  void append_choice(std::string& out, size_t index) const;
  void append_message(std::string& out, const ReplyPiece& choice) const;

  const OpenAiReply reply_;
  const ChatReplyOptions options_;
  std::vector<ReplyPiece> choices_;
  std::vector<TokenLogprobs> prompt_logprobs_;
  bool has_prompt_logprobs_ = false;
};

void ChatDocument::append_message(std::string& out, const ReplyPiece& choice) const {
  const std::string content = options_.echoed_text + choice.delta.content;
  const std::string reasoning = options_.show_reasoning ? choice.delta.reasoning : "";
  out += '{';
  append_member(out, "role", options_.role);
  out += ",\"content\":";
  if (content.empty() && (!choice.delta.reasoning.empty() || !choice.delta.tool_calls.empty())) {
    out += "null";
  } else {
    json::append_quoted(out, content);
  }
  out += ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null";
  if (!choice.delta.tool_calls.empty()) {  // an empty array would mislead clients
    out += ",\"tool_calls\":[";
    for (const ToolCallDelta& call : choice.delta.tool_calls) {
      if (out.back() != '[') out += ',';
      out += "{\"id\":";
      json::append_quoted(out, tool_call_id());
      out += ",\"type\":\"function\",\"function\":{\"name\":";
      json::append_quoted(out, call.name);
      out += ",\"arguments\":";
      json::append_quoted(out, call.arguments);
      out += "}}";
    }
    out += ']';
  }
  if (reasoning.empty()) {
    out += ",\"reasoning\":null,\"reasoning_content\":null";
  } else {
    append_reasoning(out, reasoning);
  }
  out += '}';
}

void ChatDocument::append_choice(std::string& out, size_t index) const {
  const ReplyPiece& choice = choices_[index];
  out += fmt::format("{{\"index\":{},\"message\":", index);
  append_message(out, choice);
  out += ",\"logprobs\":";
  if (reply_.settings.logprobs && options_.show_reasoning) {
    append_chat_logprobs(out, reply_, choice.logprobs);
  } else {
    out += "null";
  }
  out += ",\"finish_reason\":";
  json::append_quoted(out, finish_of(choice));
  out += ",\"stop_reason\":";
  append_cause(out, choice.cause);
  out += ",\"token_ids\":";
  if (reply_.settings.return_token_ids && options_.show_reasoning) {
    append_ids(out, choice.tokens);
  } else {
    out += "null";
  }
  out += '}';
}

void ChatDocument::end(const ReplyUsage& usage) {
  std::string out = "{\"id\":";
  json::append_quoted(out, reply_.id);
  out += fmt::format(",\"object\":\"chat.completion\",\"created\":{},\"model\":", reply_.created);
  json::append_quoted(out, reply_.settings.model);
  out += ",\"choices\":[";
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(out, i);
  }
  out += "],\"service_tier\":null,\"system_fingerprint\":null,\"usage\":";
  append_usage(out, usage);
  out += ",\"prompt_logprobs\":";
  if (has_prompt_logprobs_) {
    append_prompt_logprobs(out, reply_, prompt_logprobs_);
  } else {
    out += "null";
  }
  out += ",\"prompt_token_ids\":";
  if (reply_.settings.return_token_ids && !reply_.prompts.empty()) {
    append_ids(out, reply_.prompts[0]);
  } else {
    out += "null";
  }
  out += ",\"kv_transfer_params\":null}";
  reply_.exchange->reply({200, "application/json", std::move(out), {}});
}

}  // namespace

std::unique_ptr<ReplyWriter> make_chat_stream(OpenAiReply reply, ChatReplyOptions options) {
  return std::make_unique<ChatStream>(std::move(reply), std::move(options));
}

std::unique_ptr<ReplyWriter> make_chat_document(OpenAiReply reply, ChatReplyOptions options) {
  return std::make_unique<ChatDocument>(std::move(reply), std::move(options));
}

}  // namespace m2
