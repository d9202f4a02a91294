// Any bytes as a tokenizer.json: refused, or it encodes and decodes without a fault.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tokenizer = m2::Tokenizer::parse("fuzz", {reinterpret_cast<const char*>(data), size});
  if (!tokenizer) return 0;
  for (const auto added : {m2::AddedTokens::kParse, m2::AddedTokens::kAsText}) {
    const auto ids = (*tokenizer)->encode("user [e~[ caf\xC3\xA9 \xF0\x9F\x9A\x80\n 123", added);
    if (!ids) continue;
    m2::Detokenizer detokenizer(**tokenizer, false);
    std::string streamed;
    for (const int32_t id : *ids) {
      M2_CHECK(id >= 0 && id < (*tokenizer)->vocab_size(), "id {} is outside", id);
      streamed += detokenizer.push(id);
    }
    streamed += detokenizer.flush();
    M2_CHECK(streamed == (*tokenizer)->decode(*ids, false), "pieces differ from the whole");
  }
  return 0;
}
