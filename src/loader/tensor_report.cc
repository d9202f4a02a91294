#include "loader/tensor_report.h"

namespace m2 {

void TensorReport::Lines::append_to(std::string& out, const char* title) const {
  if (count == 0) return;
  out += fmt::format("\n  {} {}:", count, title);
  for (const std::string& line : shown) out += "\n    " + line;
  if (count > shown.size()) out += fmt::format("\n    and {} more", count - shown.size());
}

Status TensorReport::status(const std::string& folder) const {
  std::string lines;
  if (broken_.count == 1 && missing_.count + extra_.count + wrong_.count == 0) {
    return tl::unexpected(first_);
  }
  broken_.append_to(lines, "files that cannot be used");
  missing_.append_to(lines, "missing");
  extra_.append_to(lines, "that the model does not have");
  wrong_.append_to(lines, "of another type or shape");
  if (lines.empty()) return {};
  return invalid("model", "{}: tensors do not match config.json:{}", folder, lines);
}

}  // namespace m2
