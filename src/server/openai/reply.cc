#include "server/openai/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>

#include "base/random.h"

namespace m2 {

std::string random_hex(int digits) {
  std::string out;
  while (static_cast<int>(out.size()) < digits) out += fmt::format("{:016x}", random_bits());
  out.resize(static_cast<size_t>(digits));
  return out;
}

std::string reply_id(std::string_view prefix, std::string_view client_id) {
  constexpr size_t kMost = 64;
  const bool plain = !client_id.empty() && client_id.size() <= kMost &&
                     std::all_of(client_id.begin(), client_id.end(), [](char c) {
                       return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
                     });
  return std::string(prefix) + (plain ? std::string(client_id) : random_hex(32));
}

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void append_usage(std::string& out, const ReplyUsage& usage) {
  fmt::format_to(std::back_inserter(out),
                 "{{\"prompt_tokens\":{},\"total_tokens\":{},\"completion_tokens\":{},"
                 "\"prompt_tokens_details\":{{\"cached_tokens\":{}}},"
                 "\"completion_tokens_details\":{{\"reasoning_tokens\":{}}}}}",
                 usage.prompt_tokens, usage.prompt_tokens + usage.completion_tokens,
                 usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens);
}

void append_ids(std::string& out, const std::vector<TokenId>& ids) {
  out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(ids[i]);
  }
  out += ']';
}

void append_logprob(std::string& out, float value) {
  constexpr float kMost = 9999;  // what vLLM writes for an impossible token
  if (std::isnan(value)) value = -kMost;
  fmt::format_to(std::back_inserter(out), "{}", std::clamp(value, -kMost, kMost));
}

void append_cause(std::string& out, const StopCause& cause) {
  if (const auto* text = std::get_if<std::string>(&cause)) {
    json::append_quoted(out, *text);
  } else if (const auto* token = std::get_if<TokenId>(&cause)) {
    out += std::to_string(*token);
  } else {
    out += "null";
  }
}

std::string token_label(const OpenAiReply& reply, TokenId token) {
  if (reply.settings.tokens_as_ids) return fmt::format("token_id:{}", token);
  return std::string(reply.tokenizer.token_bytes(token));
}

namespace {

void append_token(std::string& out, const OpenAiReply& reply, TokenId token, float logprob) {
  out += "{\"token\":";
  json::append_quoted(out, token_label(reply, token));
  out += ",\"logprob\":";
  append_logprob(out, logprob);
  out += ",\"bytes\":[";
  bool first = true;
  for (const char byte : reply.tokenizer.token_bytes(token)) {
    if (!first) out += ',';
    first = false;
    out += std::to_string(static_cast<unsigned char>(byte));
  }
  out += ']';
}

}  // namespace

void append_chat_logprobs(std::string& out, const OpenAiReply& reply,
                          const std::vector<TokenLogprobs>& logprobs) {
  out += "{\"content\":[";
  for (size_t i = 0; i < logprobs.size(); ++i) {
    if (i > 0) out += ',';
    append_token(out, reply, logprobs[i].token, logprobs[i].logprob);
    out += ",\"top_logprobs\":[";
    for (size_t k = 0; k < logprobs[i].top.size(); ++k) {
      if (k > 0) out += ',';
      append_token(out, reply, logprobs[i].top[k].first, logprobs[i].top[k].second);
      out += '}';
    }
    out += "]}";
  }
  out += "]}";
}

void append_prompt_logprobs(std::string& out, const OpenAiReply& reply,
                            const std::vector<TokenLogprobs>& logprobs, size_t most) {
  const auto append_entry = [&](TokenId token, float logprob, int32_t rank) {
    out += fmt::format("\"{}\":{{\"logprob\":", token);
    append_logprob(out, logprob);
    out += fmt::format(",\"rank\":{},\"decoded_token\":", rank);
    json::append_quoted(out, reply.tokenizer.token_bytes(token));
    out += '}';
  };
  out += "[null";
  for (const TokenLogprobs& position : logprobs) {
    out += ",{";
    append_entry(position.token, position.logprob, position.rank);
    for (size_t i = 0; i < std::min(most, position.top.size()); ++i) {
      if (position.top[i].first == position.token) continue;
      out += ',';
      append_entry(position.top[i].first, position.top[i].second, static_cast<int32_t>(i) + 1);
    }
    out += '}';
  }
  out += ']';
}

}  // namespace m2
