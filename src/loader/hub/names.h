// What may become a path or part of a URL. Everything here comes from a person, a server or a file
// that anybody may have written, so each name is checked before it is used.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace m2 {

// org/name, by the hub's own rules. "--" would collide with the cache's folder names.
bool is_repository_id(std::string_view id);

// A branch, tag or commit. It becomes a path under refs/: it may hold slashes ("refs/pr/1"), but
// never leads out.
bool is_revision(std::string_view revision);

bool is_commit(std::string_view text);  // 40 hexadecimal digits

// The name of a blob: a SHA-256 (64 digits) or a git object's SHA-1 (40).
bool is_blob_name(std::string_view text);

// A plain file name in a model's own folder: none of the files that a model needs lies deeper.
bool is_file_name(std::string_view name);

}  // namespace m2
