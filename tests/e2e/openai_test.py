"""The official client against the real model: replies, streams, errors."""
import concurrent.futures
import time

import openai
import pytest

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def stream_texts(chunks):
    content, reasoning, finish, usage = "", "", None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += (choice.delta.model_extra or {}).get("reasoning") or ""
            finish = choice.finish_reason or finish
    return content, reasoning, finish, usage


def test_models_are_listed_under_every_name(pocket):
    client = pocket.client()
    assert [model.id for model in client.models.list()] == ["MiniMaxAI/MiniMax-M2.5", "pocket"]
    assert client.models.retrieve("MiniMaxAI/MiniMax-M2.5").id == "MiniMaxAI/MiniMax-M2.5"
    assert pocket.request("GET", "/v1/models/MiniMaxAI%2FMiniMax-M2.5")[0] == 200


def test_a_stream_says_what_the_whole_reply_says(pocket_split):
    client = pocket_split.client()
    options = dict(model="pocket", messages=QUESTION, temperature=0)
    whole = client.chat.completions.create(**options)
    content, reasoning, finish, usage = stream_texts(client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}))
    message = whole.choices[0].message
    assert content.lstrip() == message.content.lstrip()
    assert reasoning == message.model_extra["reasoning"]
    assert finish == whole.choices[0].finish_reason
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_a_seed_fixes_the_draw(pocket):
    client = pocket.client()
    options = dict(model="pocket", messages=QUESTION, seed=7, temperature=1.5)
    first, second = (client.chat.completions.create(**options) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content


def test_a_reply_does_not_depend_on_its_neighbours(pocket):
    client = pocket.client()

    def ask(seed):
        reply = client.chat.completions.create(
            model="pocket", messages=QUESTION, seed=seed, temperature=1.2, max_tokens=60)
        return reply.choices[0].message.content

    alone = [ask(seed) for seed in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, range(6)))
    assert together == alone


def test_choices_logprobs_and_limits(pocket):
    reply = pocket.client().chat.completions.create(
        model="pocket", messages=QUESTION, n=3, max_tokens=5, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    for choice in reply.choices:
        assert choice.finish_reason == "length"
        assert len(choice.logprobs.content) == 5
        for token in choice.logprobs.content:
            assert token.logprob <= 0 and len(token.top_logprobs) == 2


def test_stop_strings_end_a_reply(pocket_split):
    reply = pocket_split.client().chat.completions.create(
        model="pocket", messages=QUESTION, temperature=0, stop=["Paris"])
    message = reply.choices[0].message
    assert "Paris" not in (message.content or "") + message.model_extra.get("reasoning", "")
    assert reply.choices[0].finish_reason == "stop"


def test_completions_continue_text(pocket):
    reply = pocket.client().completions.create(model="pocket", prompt="The capital of", max_tokens=4)
    assert reply.choices[0].text
    assert reply.usage.completion_tokens <= 4


def test_tokenize_and_back(pocket):
    status, tokens = pocket.post("/tokenize", {"model": "pocket", "prompt": "Hello, wörld! 你好"})
    assert status == 200 and tokens["count"] == len(tokens["tokens"])
    status, text = pocket.post("/detokenize", {"model": "pocket", "tokens": tokens["tokens"]})
    assert status == 200 and text["prompt"] == "Hello, wörld! 你好"


@pytest.mark.parametrize("bad, field", [
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 0}, "n"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"presence_penalty": 9}, "presence_penalty"),
    ({"logprobs": True, "top_logprobs": 10**9}, "top_logprobs"),
])
def test_bad_values_are_400_and_name_the_field(pocket, bad, field):
    with pytest.raises(openai.BadRequestError) as caught:
        pocket.client().chat.completions.create(model="pocket", messages=QUESTION, **bad)
    assert field in caught.value.message


def test_a_prompt_that_is_too_long_is_refused_with_the_limit(pocket):
    with pytest.raises(openai.BadRequestError) as caught:
        pocket.client().chat.completions.create(
            model="pocket", messages=[{"role": "user", "content": "word " * 400_000}])
    assert "token" in caught.value.message


def test_an_unknown_model_is_404(pocket):
    with pytest.raises(openai.NotFoundError) as caught:
        pocket.client().chat.completions.create(model="gpt-4", messages=QUESTION)
    assert "gpt-4" in caught.value.message


@pytest.mark.parametrize("body", ["", "{", "[]", '{"messages": 1}', '{"messages": []}', "null",
                                  '{"messages":' + "[" * 500 + "]" * 500 + "}"])
def test_bodies_that_are_no_request_are_400(pocket, body):
    status, reply = pocket.request("POST", "/v1/chat/completions", body)
    assert status == 400 and b'"error"' in reply


def test_routes_that_are_not_there(pocket):
    assert pocket.request("GET", "/v1/nothing")[0] == 404
    assert pocket.request("GET", "/v1/chat/completions")[0] == 405


def test_a_client_that_leaves_frees_its_place(pocket):
    chunks = pocket.client().chat.completions.create(
        model="pocket", messages=QUESTION, stream=True,
        extra_body={"ignore_eos": True})
    next(iter(chunks))
    chunks.close()
    deadline = time.monotonic() + 60
    while pocket.metric("vllm:num_requests_running") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pocket.metric("vllm:num_requests_running") == 0
