#include "base/file.h"
#include "text/chat_template.h"

namespace m2 {

namespace {

constexpr size_t kMaxConfigBytes = 64u << 20;

// "chat_template": a string, or a list of {"name", "template"} whose "default" counts.
const json::Value* find_template(const json::Value& config) {
  const json::Value* value = config.find("chat_template");
  if (value == nullptr || !value->is_array()) return value;
  for (const json::Value& entry : value->as_array()) {
    const json::Value* name = entry.find("name");
    if (name != nullptr && name->is_string() && name->as_string() == "default") {
      return entry.find("template");
    }
  }
  return nullptr;
}

}  // namespace

Result<std::string> read_chat_template(const std::string& model_folder) {
  const std::string file = model_folder + "/chat_template.jinja";
  auto text = read_file(file, kMaxTemplateBytes);
  if (text || text.error().kind != ErrorKind::kNotFound) return text;
  const std::string path = model_folder + "/tokenizer_config.json";
  auto config_text = read_file(path, kMaxConfigBytes);
  if (!config_text && config_text.error().kind == ErrorKind::kNotFound) {
    return fail(ErrorKind::kNotFound, "", "neither {} nor {} is there", file, path);
  }
  if (!config_text) return config_text;
  const auto config = json::parse(*config_text);
  if (!config) return invalid("", "{}: {}", path, config.error().message);
  const json::Value* found = find_template(*config);
  if (found == nullptr || !found->is_string()) {
    return fail(ErrorKind::kNotFound, "", "no {}, and no default \"chat_template\" in {}", file,
                path);
  }
  return found->as_string();
}

}  // namespace m2
