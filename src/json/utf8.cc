#include "json/utf8.h"

#include <cstdint>

namespace m2::json {

namespace {

// The second byte's range decides overlong forms, surrogates and the end of Unicode; all further
// bytes are 80..BF (Unicode 15, table 3-7).
struct LeadByte {
  size_t length;
  uint8_t second_low;
  uint8_t second_high;
};

LeadByte classify(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step next_utf8(std::string_view text, size_t position) {
  if (position >= text.size()) return {};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[position + i]); };
  const LeadByte lead = classify(byte(0));
  if (lead.length == 0) return {1, false, false};
  for (size_t i = 1; i < lead.length; ++i) {
    if (position + i == text.size()) return {i, false, true};
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xBF;
    if (byte(i) < low || byte(i) > high) return {i, false, false};
  }
  return {lead.length, true, false};
}

bool is_valid_utf8(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const Utf8Step step = next_utf8(text, position);
    if (!step.valid) return false;
    position += step.length;
  }
  return true;
}

void append_valid_utf8(std::string& out, std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const Utf8Step step = next_utf8(text, position);
    if (step.valid) {
      out.append(text, position, step.length);
    } else {
      out.append(kReplacementCharacter);
    }
    position += step.length;
  }
}

}  // namespace m2::json
