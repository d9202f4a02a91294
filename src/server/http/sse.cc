#include "server/http/sse.h"

namespace m2 {

HttpReply sse_head() {
  // The last field keeps nginx from collecting a stream before it passes it on.
  return {200,
          "text/event-stream; charset=utf-8",
          "",
          {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

}  // namespace m2
