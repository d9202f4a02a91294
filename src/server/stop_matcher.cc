#include "server/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace m2 {

StopMatcher::StopMatcher(const std::vector<std::string>& stops, bool include) : include_(include) {
  for (const std::string& stop : stops) {
    Automaton automaton{stop, std::vector<uint32_t>(stop.size(), 0), 0};
    for (size_t i = 1, border = 0; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[border]) border = automaton.fallback[border - 1];
      if (stop[i] == stop[border]) ++border;
      automaton.fallback[i] = static_cast<uint32_t>(border);
    }
    automata_.push_back(std::move(automaton));
  }
}

void StopMatcher::Automaton::advance(char c) {
  while (matched > 0 && text[matched] != c) matched = fallback[matched - 1];
  if (text[matched] == c) ++matched;
}

int StopMatcher::push(int32_t token, std::string text, bool look, std::vector<Piece>& out) {
  if (automata_.empty()) {
    out.push_back({token, std::move(text)});
    return -1;
  }
  if (!look) {
    for (Automaton& automaton : automata_) automaton.matched = 0;
    held_.push_back({token, std::move(text)});
    flush(out);
    return -1;
  }
  const size_t before = held_bytes_;
  held_bytes_ += text.size();
  held_.push_back({token, std::move(text)});
  const std::string& added = held_.back().text;
  for (size_t i = 0; i < added.size(); ++i) {
    for (size_t stop = 0; stop < automata_.size(); ++stop) {
      Automaton& automaton = automata_[stop];
      automaton.advance(added[i]);
      if (automaton.matched < automaton.text.size()) continue;
      const size_t end = before + i + 1;
      cut(include_ ? end : end - automaton.text.size(), out);
      return static_cast<int>(stop);
    }
  }
  uint32_t keep = 0;
  for (const Automaton& automaton : automata_) keep = std::max(keep, automaton.matched);
  release(keep, out);
  return -1;
}

// Whole pieces only: a token is never split, unless a stop string ends the text in it.
void StopMatcher::release(size_t keep_bytes, std::vector<Piece>& out) {
  while (!held_.empty() && held_bytes_ - held_.front().text.size() >= keep_bytes) {
    held_bytes_ -= held_.front().text.size();
    out.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

void StopMatcher::cut(size_t end, std::vector<Piece>& out) {
  for (Piece& piece : held_) {
    if (end == 0) break;
    const size_t taken = std::min(end, piece.text.size());
    if (taken < piece.text.size()) piece.token = -1;  // half a tag is no tag
    piece.text.resize(taken);
    end -= taken;
    out.push_back(std::move(piece));
  }
  held_.clear();
  held_bytes_ = 0;
}

void StopMatcher::flush(std::vector<Piece>& out) {
  for (Piece& piece : held_) out.push_back(std::move(piece));
  held_.clear();
  held_bytes_ = 0;
}

}  // namespace m2
