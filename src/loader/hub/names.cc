#include "loader/hub/names.h"

#include <algorithm>

namespace m2 {
namespace {

constexpr size_t kMaxNamePartBytes = 96;
constexpr size_t kMaxRevisionBytes = 256;
constexpr size_t kMaxFileNameBytes = 255;

bool is_name_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
         c == '-' || c == '_';
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_name_part(std::string_view part) {
  if (part.empty() || part.size() > kMaxNamePartBytes) return false;
  if (part.find("--") != part.npos || part.find("..") != part.npos) return false;
  for (const char end : {part.front(), part.back()}) {
    if (end == '.' || end == '-') return false;
  }
  return std::all_of(part.begin(), part.end(), is_name_byte);
}

}  // namespace

bool is_repository_id(std::string_view id) {
  const size_t slash = id.find('/');
  return slash != id.npos && is_name_part(id.substr(0, slash)) &&
         is_name_part(id.substr(slash + 1));
}

bool is_revision(std::string_view revision) {
  if (revision.empty() || revision.size() > kMaxRevisionBytes) return false;
  for (size_t begin = 0; begin <= revision.size();) {
    const size_t end = std::min(revision.find('/', begin), revision.size());
    const std::string_view part = revision.substr(begin, end - begin);
    if (part.empty() || part.front() == '.') return false;
    if (!std::all_of(part.begin(), part.end(), is_name_byte)) return false;
    begin = end + 1;
  }
  return true;
}

bool is_commit(std::string_view text) { return text.size() == 40 && is_hex(text); }

bool is_blob_name(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && is_hex(text);
}

bool is_file_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxFileNameBytes || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(), is_name_byte);
}

}  // namespace m2
