"""An agent loop with the official client: ten tasks whose tools really run, whole and streamed.

Greedy, so a task is solved always or never. Every task checks the last answer and, where the task
changes something, the world itself.
"""
import json

import pytest

from agent_world import TOOLS, World, tool

MOST_ROUNDS = 6


def whole_turn(client, messages):
    """One reply as a message to go on with."""
    choice = client.chat.completions.create(
        model="pocket", messages=messages, tools=TOOLS, temperature=0, max_tokens=400).choices[0]
    message = choice.message
    calls = [{"id": call.id, "type": "function", "function": {
        "name": call.function.name, "arguments": call.function.arguments}}
        for call in message.tool_calls or []]
    return message.content or "", message.model_extra.get("reasoning_content"), calls, choice.finish_reason


def streamed_turn(client, messages):
    content, thought, calls, finish = "", "", [], None
    for chunk in client.chat.completions.create(model="pocket", messages=messages, tools=TOOLS,
                                                temperature=0, max_tokens=400, stream=True):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            thought += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            finish = choice.finish_reason or finish
            for part in choice.delta.tool_calls or []:
                if part.index == len(calls):
                    calls.append({"id": part.id, "type": "function",
                                  "function": {"name": part.function.name, "arguments": ""}})
                calls[part.index]["function"]["arguments"] += part.function.arguments or ""
    return content, thought, calls, finish


def solve(client, world, turn, requests, forgetful=False):
    """Runs the conversation, all tools included; the last answer without its thought.

    The thought goes back with its turn, as the model's makers ask: in the content where the server
    left it there, else in its own field. Forgetful clients drop it, as many do.
    """
    messages, answer = [], None
    for request in requests:
        messages.append({"role": "user", "content": request})
        for _ in range(MOST_ROUNDS):
            content, thought, calls, finish = turn(client, messages)
            assert finish == ("tool_calls" if calls else "stop")
            message = {"role": "assistant", "content": content}
            if forgetful:
                message["content"] = content.rpartition("</think>")[2]
            elif thought:
                message["reasoning_content"] = thought
            messages.append(message | ({"tool_calls": calls} if calls else {}))
            for call in calls:
                result = world.run(call["function"]["name"], json.loads(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            if not calls:
                answer = content.rpartition("</think>")[2].strip()
                break
        else:
            raise AssertionError(f"no answer after {MOST_ROUNDS} rounds: {messages}")
    return answer


def events_of(world, date):
    return [(e["title"], e["time"]) for e in world.events.values() if e["date"] == date]


def text_of(world, path):
    return (world.root / path).read_text()


# name: (what the user says, in turn; what must hold of the answer and the world at the end)
TASKS = {
    "calculate": (["What's 37 * 48?"], lambda answer, world: "1776" in answer),
    "list a folder": (["What files are in the folder notes?"], lambda answer, world: all(
        name in answer for name in ("ideas.md", "plan.txt", "shopping.txt"))),
    "read a file": (["What's in the file notes/shopping.txt?"],
                    lambda answer, world: "two bottles of milk" in answer),
    "write a file": (['Write "buy new tires" to the file car.txt.'],
                     lambda answer, world: "done" in answer and text_of(world, "car.txt") == "buy new tires"),
    "a result into a file": (["What is 1250 / 5? Then: Write the result to the file total.txt."],
                             lambda answer, world: "done" in answer and text_of(world, "total.txt") == "250"),
    "two things at once": (["Read the file notes/plan.txt. Also: What is 144 / 12?"],
                           lambda answer, world: "Paint the kitchen" in answer and "12" in answer),
    "create an event": (['Put "Dentist" in my calendar on 2026-03-04 at 09:30.'],
                        lambda answer, world: "EV-2" in answer
                        and events_of(world, "2026-03-04") == [("Dentist", "09:30")]),
    "look into the calendar": (["What's on my calendar on 2026-03-02?"],
                               lambda answer, world: "Team lunch" in answer),
    "create, then delete": (['Create an event "Review" on 2026-05-06.', "Delete the event EV-2."],
                            lambda answer, world: "done" in answer and not events_of(world, "2026-05-06")
                            and [name for name, _ in world.calls] == ["create_event", "delete_event"]),
    "a file that is not there": (["What does the file notes/missing.txt say?"],
                                 lambda answer, world: "file not found" in answer),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("server, turn", [
    ("pocket", whole_turn), ("pocket", streamed_turn), ("pocket_split", whole_turn),
    ("pocket_split", streamed_turn)],
    ids=["append-whole", "append-streamed", "split-whole", "split-streamed"])
def test_the_task_is_solved(request, tmp_path, server, turn, task):
    requests, holds = TASKS[task]
    world = World(tmp_path)
    answer = solve(request.getfixturevalue(server).client(), world, turn, requests)
    assert holds(answer, world), (answer, world.calls, world.events)
    assert world.calls


@pytest.mark.parametrize("task", TASKS)
def test_the_task_is_solved_without_sending_thoughts_back(pocket_split, tmp_path, task):
    requests, holds = TASKS[task]
    world = World(tmp_path)
    answer = solve(pocket_split.client(), world, whole_turn, requests, forgetful=True)
    assert holds(answer, world), (answer, world.calls, world.events)


WEATHER = tool("get_weather", "Get the current weather for a location", location="string")
LIST_DIR = tool("list_dir", "List the contents of a directory", path="string")
BASH = tool("bash", "Run a shell command", command="string")


@pytest.mark.parametrize("request_text, tools, name, arguments", [
    ("What's the weather in San Francisco?", [WEATHER], "get_weather",
     {"location": "San Francisco"}),
    ("What's the weather like in New York today?", [BASH, WEATHER], "get_weather",
     {"location": "New York"}),
    ("List the directory docs", [LIST_DIR, BASH], "list_dir", {"path": "docs"}),
    ("Run `git status`", [BASH, LIST_DIR], "bash", {"command": "git status"}),
    ('Write "milk, bread and eggs" to the file list.txt.', TOOLS, "write_file",
     {"path": "list.txt", "content": "milk, bread and eggs"})],
    ids=["city-of-two-words", "the-same-today", "list-dir", "back-quotes", "commas"])
def test_what_once_went_wrong(pocket_split, request_text, tools, name, arguments):
    call, = pocket_split.client().chat.completions.create(
        model="pocket", messages=[{"role": "user", "content": request_text}], tools=tools,
        temperature=0, max_tokens=400).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (name, arguments)


@pytest.mark.parametrize("result", ["milk, bread and eggs", '{"content": "milk, bread and eggs"}'])
def test_a_result_with_commas_is_repeated_as_it_is(pocket_split, result):
    call = {"id": "call_1", "type": "function",
            "function": {"name": "read_file", "arguments": '{"path": "list.txt"}'}}
    reply = pocket_split.client().chat.completions.create(
        model="pocket", tools=TOOLS, temperature=0, max_tokens=400, messages=[
            {"role": "user", "content": "Read the file list.txt."},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": result}]).choices[0].message
    assert "milk, bread and eggs." in reply.content
