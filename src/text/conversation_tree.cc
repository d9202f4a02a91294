#include "text/conversation_tree.h"

#include <string>
#include <vector>

namespace m2 {

namespace {

// The texts of a message's content, in order: the string itself, or the text of each part.
std::vector<const std::string*> content_texts(const json::Value& content) {
  std::vector<const std::string*> texts;
  if (content.is_string()) texts.push_back(&content.as_string());
  if (!content.is_array()) return texts;
  for (const json::Value& part : content.as_array()) {
    const json::Value* text = part.is_string() ? &part : part.find("text");
    if (text != nullptr && text->is_string()) texts.push_back(&text->as_string());
  }
  return texts;
}

// Writes one message's content, escaping its texts as its role allows.
class ContentWriter {
 public:
  ContentWriter(ValueTree& tree, const json::Value& message, const ControlMarks* marks,
                bool continued)
      : tree_(tree), marks_(marks) {
    const json::Value* content = message.find("content");
    if (content == nullptr) return;
    texts_ = content_texts(*content);
    if (continued && !texts_.empty()) last_ = texts_.back();
    const json::Value* role = message.find("role");
    const json::Value* reasoning = message.find("reasoning_content");
    // With a field for its reasoning the template leaves the content alone, and so do we.
    const bool own_words = marks != nullptr && role != nullptr && role->is_string() &&
                           role->as_string() == "assistant" &&
                           !(reasoning != nullptr && reasoning->is_string());
    if (!own_words) return;
    for (const std::string* text : texts_) {
      splits_thinking_ = splits_thinking_ || marks->has_think_end(*text);
    }
    // The first text may open the reasoning only where nothing closes it and the turn goes on.
    if (!splits_thinking_ && last_ != nullptr) open_ = texts_.front();
  }

  bool has_text() const { return !texts_.empty(); }

  void write(const json::Value& content) {
    if (!content.is_array()) return write_value(content);
    tree_.begin_list(content.as_array().size());
    for (const json::Value& part : content.as_array()) {
      if (!part.is_object()) {
        write_value(part);
        continue;
      }
      tree_.begin_map(part.as_object().size());
      for (const auto& [key, value] : part.as_object()) {
        tree_.add_key(key);
        if (key == "text") {
          write_value(value);
        } else {
          tree_.add(value);
        }
      }
    }
  }

 private:
  void write_value(const json::Value& value) {
    if (value.is_string()) {
      tree_.add_raw_string(escaped(value.as_string()));
    } else {
      tree_.add(value);
    }
  }

  std::string escaped(const std::string& text) {
    std::string out = text;
    if (splits_thinking_) {
      out = marks_->escape_thinking(text, closed_);
    } else if (&text == open_) {
      out = marks_->escape_open_thinking(text);
    } else if (marks_ != nullptr) {
      out = marks_->escape(text);
    }
    if (&text == last_) out += kContinued;
    return out;
  }

  ValueTree& tree_;
  const ControlMarks* marks_;
  std::vector<const std::string*> texts_;
  const std::string* last_ = nullptr;  // ends in kContinued
  const std::string* open_ = nullptr;  // may start with <think>, left open
  bool splits_thinking_ = false;       // the template splits at </think>
  bool closed_ = false;                // a </think> has been written
};

}  // namespace

Status add_messages(ValueTree& tree, const json::Value& messages, const ControlMarks* marks,
                    bool continue_final) {
  if (!messages.is_array()) {
    return invalid("messages", "messages must be an array, got {}", json::type_name(messages));
  }
  const json::Array& all = messages.as_array();
  if (continue_final && all.empty()) {
    return invalid("continue_final_message", "continue_final_message needs a message");
  }
  tree.begin_list(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const json::Value& message = all[i];
    if (!message.is_object()) {
      return invalid("messages", "messages[{}] must be an object, got {}", i,
                     json::type_name(message));
    }
    const bool continued = continue_final && i + 1 == all.size();
    ContentWriter content(tree, message, marks, continued);
    if (continued && !content.has_text()) {
      return invalid("continue_final_message",
                     "continue_final_message: messages[{}] has no text to continue", i);
    }
    tree.begin_map(message.as_object().size());
    for (const auto& [key, value] : message.as_object()) {
      tree.add_key(key);
      if (key == "content") {
        content.write(value);
      } else {
        tree.add(value);
      }
    }
  }
  return {};
}

}  // namespace m2
