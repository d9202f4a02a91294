// The chat format has one system message, at the start. This gives the other system and developer
// messages a place where the model sees them and where later requests of the same conversation
// render to an extension of this one.
//
//   at the start            joined into the system message
//   a user turn follows     put before its text
//   a user turn precedes    put after its text
//   tool results precede    put after the last result's text (a user turn of its own would make the
//                           template drop the reasoning of the running tool loop)
//   else                    a user turn of its own
// Between a tool call and its results nothing is put: such a message waits for the results.
//
// Thread-safety: pure function.
#pragma once

#include "json/json.h"

namespace m2 {

// `messages` are normalised objects: "role" is a known one, "content" a string or parts.
json::Array fold_instructions(json::Array messages);

}  // namespace m2
