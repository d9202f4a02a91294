// A small tokenizer of the form that checkpoints ship: byte-level BPE with ids 0 .. 255 for the
// bytes, a few merges, and added tokens with the spellings of the real ones.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "json/json.h"
#include "text/tokenizer.h"

namespace m2 {

// Of the real tokenizer, 54 of them; these show every shape.
inline const std::vector<std::pair<std::string, bool>>& tiny_added_tokens() {
  static const std::vector<std::pair<std::string, bool>> tokens = {{"]!p~[", true},
                                                                   {"<fim_prefix>", true},
                                                                   {"]~b]", true},
                                                                   {"[e~[", true},
                                                                   {"]!d~[", true},
                                                                   {"<function_call>", true},
                                                                   {"]<]speech[>[", true},
                                                                   {"]<]vision pad[>[", true},
                                                                   {"]~!b[", true},
                                                                   {"<file_sep>", true},
                                                                   {"<think>", false},
                                                                   {"</think>", false},
                                                                   {"<minimax:tool_call>", false},
                                                                   {"</minimax:tool_call>", false}};
  return tokens;
}

inline std::string utf8(uint32_t code) {  // below U+0800
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

inline std::string tiny_tokenizer_json() {
  json::Object vocab;
  uint32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    vocab.set(utf8(printable ? byte : next++), byte);
  }
  json::Array merges;
  int id = 256;
  const auto merge = [&](const std::string& a, const std::string& b) {
    merges.emplace_back(a + " " + b);
    vocab.set(a + b, id++);
  };
  merge("a", "i");
  merge("u", "s");
  merge("e", "r");
  merge("us", "er");
  json::Array added;
  for (const auto& [text, special] : tiny_added_tokens()) {
    json::Object token;
    token.set("id", id++);
    token.set("content", text);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      token.set(flag, false);
    }
    token.set("special", special);
    added.emplace_back(std::move(token));
  }
  json::Object model;
  model.set("type", "BPE");
  model.set("vocab", std::move(vocab));
  model.set("merges", std::move(merges));
  json::Object root;
  root.set("version", "1.0");
  root.set("added_tokens", std::move(added));
  const auto byte_level = [] {
    return *json::parse(R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
                            "use_regex":false})");
  };
  root.set("normalizer", *json::parse(R"({"type":"NFC"})"));
  root.set("pre_tokenizer", *json::parse(R"({"type":"Sequence","pretokenizers":[
      {"type":"Split","pattern":{"Regex":"\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
       "behavior":"Removed","invert":true},
      {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})"));
  root.set("decoder", byte_level());
  root.set("model", std::move(model));
  return json::dump(root);
}

inline std::unique_ptr<Tokenizer> tiny_tokenizer() {
  auto tokenizer = Tokenizer::parse("tiny", tiny_tokenizer_json());
  M2_CHECK(tokenizer.has_value(), "{}", tokenizer.error().message);
  return std::move(*tokenizer);
}

}  // namespace m2
