"""The chat format as plain Python: what chat_template.jinja renders, with a loss weight per span.

The training stream needs to know which characters the model wrote itself; a template cannot say
that. A unit test holds the two renderers against each other.
"""
import json

IDENTITY = "You are a helpful assistant. Your name is Pocket and you were trained for m2.cpp."

TOOLS_HEAD = (
    "\n\n# Tools\nYou may call one or more tools to assist with the user query.\n"
    "Here are the tools available in JSONSchema format:\n\n<tools>\n")
TOOLS_TAIL = (
    "</tools>\n\nWhen making tool calls, use XML format to invoke tools and pass parameters:\n\n"
    '<minimax:tool_call>\n<invoke name="tool-name-1">\n'
    '<parameter name="param-key-1">param-value-1</parameter>\n'
    '<parameter name="param-key-2">param-value-2</parameter>\n...\n</invoke>\n</minimax:tool_call>')

PROMPT, HISTORY, REPLY = 0, 1, 2  # who wrote a span: a client, an earlier reply, the reply trained


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def render_system(system, tools):
    text = "]~!b[]~b]system\n" + (system or IDENTITY)
    if tools:
        text += TOOLS_HEAD
        text += "".join(f"<tool>{dumps(t['function'])}</tool>\n" for t in tools)
        text += TOOLS_TAIL
    return text + "[e~[\n"


def render_calls(calls):
    out = ["\n<minimax:tool_call>\n"]
    for call in calls:
        out.append(f'<invoke name="{call["name"]}">\n')
        for key, value in call["arguments"].items():
            text = value if isinstance(value, str) else dumps(value)
            out.append(f'<parameter name="{key}">{text}</parameter>\n')
        out.append("</invoke>\n")
    out.append("</minimax:tool_call>")
    return "".join(out)


def render_reply(message):
    """What the model itself writes after the generation prompt, the end token included."""
    text = message["reasoning_content"] + "\n</think>\n\n" + (message.get("content") or "")
    if message.get("tool_calls"):
        text += render_calls([c["function"] for c in message["tool_calls"]])
    return text + "[e~["


def render_spans(messages, tools=None, keep_thoughts=False):
    """List of (text, who). keep_thoughts leaves the thoughts of earlier turns where they were:
    not what the template does, but it lets one training document hold several full replies.
    A turn without a thought is one whose client did not send it back."""
    system = None
    if messages and messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    last_user = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    spans = [(render_system(system, tools), PROMPT)]
    for i, m in enumerate(messages):
        if m["role"] == "user":
            spans.append((f"]~b]user\n{m['content']}[e~[\n", PROMPT))
        elif m["role"] == "assistant":
            if (keep_thoughts or i > last_user) and "reasoning_content" in m:
                spans += [("]~b]ai\n<think>\n", PROMPT), (render_reply(m), REPLY), ("\n", PROMPT)]
            else:
                text = m.get("content") or ""
                if m.get("tool_calls"):
                    text += render_calls([c["function"] for c in m["tool_calls"]])
                spans += [("]~b]ai\n", PROMPT), (text + "[e~[", HISTORY), ("\n", PROMPT)]
        elif m["role"] == "tool":
            first = messages[i - 1]["role"] != "tool"
            last = i + 1 == len(messages) or messages[i + 1]["role"] != "tool"
            text = ("]~b]tool" if first else "") + f"\n<response>{m['content']}</response>"
            spans.append((text + ("[e~[\n" if last else ""), PROMPT))
    return spans


def render_prompt(messages, tools=None):
    """The prompt of a request, as the template gives it with add_generation_prompt."""
    return "".join(t for t, _ in render_spans(messages, tools)) + "]~b]ai\n<think>\n"


def assistant(thought, content="", calls=None):
    m = {"role": "assistant", "content": content, "reasoning_content": thought}
    if calls:
        m["tool_calls"] = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    return m


def user(text):
    return {"role": "user", "content": text}


def tool_result(text):
    return {"role": "tool", "content": text}
