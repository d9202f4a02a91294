#!/usr/bin/env bash
# `make serve`: sets up, builds, serves a checkpoint and prints a request to try.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-8000}
model=${MODEL:-models/pocket}
name=MiniMaxAI/MiniMax-M2.5

if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((port < 1 || port > 65535)); then
  echo "serve: PORT must be 1 to 65535, got '$port'" >&2
  exit 1
fi
# Before minutes of building: is there a model, and is the port free?
if [[ $model == models/* && ! -f $model/config.json ]]; then
  echo "serve: $model holds no config.json" >&2
  exit 1
fi
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "serve: port $port is in use; choose another with  make serve PORT=8001" >&2
  exit 1
fi

scripts/setup.sh
scripts/build.sh release m2

# The guide's request, printed once the server says that it is ready.
(
  until { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null &&
    printf 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3 &&
    read -r _ status _ <&3 2>/dev/null && [[ $status == 200 ]]; do
    kill -0 $$ 2>/dev/null || exit 0
    sleep 0.1
  done
  cat <<END

Ready. In another terminal:

curl http://localhost:$port/v1/chat/completions \\
    -H "Content-Type: application/json" \\
    -d '{
        "model": "$name",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant."}]},
            {"role": "user", "content": [{"type": "text", "text": "Who won the world series in 2020?"}]}
        ]
    }'

END
) &

exec build/release/bin/m2 serve "$model" --host 127.0.0.1 --port "$port" \
  --served-model-name "$name" pocket \
  --trust-remote-code --enable-auto-tool-choice --tool-call-parser minimax_m2 \
  --reasoning-parser minimax_m2_append_think
