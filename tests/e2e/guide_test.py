"""What the deployment guide promises: its curl, answered by a real model."""
import json
import subprocess

# As the guide prints it, with the port filled in.
CURL = """curl http://localhost:{port}/v1/chat/completions \\
    -H "Content-Type: application/json" \\
    -d '{{
        "model": "MiniMaxAI/MiniMax-M2.5",
        "messages": [
            {{"role": "system", "content": [{{"type": "text", "text": "You are a helpful assistant."}}]}},
            {{"role": "user", "content": [{{"type": "text", "text": "Who won the world series in 2020?"}}]}}
        ]
    }}'"""


def test_the_guides_curl_is_answered(pocket):
    shell = CURL.format(port=pocket.port).replace("curl ", "curl --silent --show-error ", 1)
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    message = reply["choices"][0]["message"]
    assert message["role"] == "assistant"
    # append_think: the thought stands in the content, in whole tags.
    assert message["content"].startswith("<think>")
    thought, answer = message["content"].removeprefix("<think>").split("</think>")
    assert thought.strip()
    assert "Dodgers" in answer
    assert "tool_calls" not in message or message["tool_calls"] is None
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["model"] == "MiniMaxAI/MiniMax-M2.5"
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_split_reasoning_has_its_own_field(pocket_split):
    reply = pocket_split.client().chat.completions.create(
        model="MiniMaxAI/MiniMax-M2.5",
        messages=[{"role": "user", "content": "Who won the world series in 2020?"}])
    message = reply.choices[0].message
    assert "Dodgers" in message.content
    assert "think>" not in message.content
    assert message.model_extra["reasoning"]
    assert message.model_extra["reasoning"] == message.model_extra["reasoning_content"]


def test_the_log_tells_what_a_person_wants_to_know(pocket):
    log = pocket.log_text()
    assert f"http://127.0.0.1:{pocket.port}" in log
    for said in ("KV cache", "tokens", "temperature", "top_p", "--trust-remote-code"):
        assert said in log, said
