// Writes a conversation into a value tree. It knows the two places where messages are not plain
// client text: an assistant turn's own reasoning, and the final message that is to be continued.
//
// Thread-safety: pure function.
#pragma once

#include "base/error.h"
#include "json/json.h"
#include "text/control_marks.h"
#include "text/value_tree.h"

namespace m2 {

// `marks` may be null: then nothing is escaped or marked. With `continue_final`, the text of the
// last message ends in kContinued; kInvalidArgument when it has none.
Status add_messages(ValueTree& tree, const json::Value& messages, const ControlMarks* marks,
                    bool continue_final);

// The cut mark and a space: the space shows whether the template trims.
inline constexpr std::string_view kContinued = "\xEF\xB7\x91 ";

}  // namespace m2
