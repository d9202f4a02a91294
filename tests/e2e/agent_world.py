"""A small world for agents: files in a folder, a calculator, a calendar. The tools really run."""
import ast
import json
import operator
import pathlib

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.USub: operator.neg}


def tool(name, description, required=(), **parameters):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": {key: {"type": kind} for key, kind in parameters.items()},
        "required": list(required or parameters)}}}


TOOLS = [
    tool("list_files", "List the files in a folder", folder="string"),
    tool("read_file", "Read the text of a file", path="string"),
    tool("write_file", "Write text to a file", path="string", content="string"),
    tool("calculate", "Calculate an arithmetic expression", expression="string"),
    tool("create_event", "Create an event in the calendar", ("title", "date"),
         title="string", date="string", time="string"),
    tool("list_events", "List the events of a day in the calendar", date="string"),
    tool("delete_event", "Delete an event from the calendar", id="string"),
]


def evaluate(node):
    """Arithmetic only: what a model writes is never run as code."""
    if isinstance(node, ast.Expression):
        return evaluate(node.body)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.operand))
    raise ValueError("not arithmetic")


class World:
    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.calls = []  # (name, arguments) in the order they ran
        self.events = {"EV-1": {"title": "Team lunch", "date": "2026-03-02", "time": "12:30"}}
        for path, text in {"notes/shopping.txt": "two bottles of milk", "notes/plan.txt": "Paint the kitchen",
                           "notes/ideas.md": "A boat made of paper", "readme.md": "Welcome home"}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def run(self, name, arguments):
        """The result of a call as the tool message carries it; what goes wrong is a result too."""
        self.calls.append((name, arguments))
        try:
            return json.dumps(getattr(self, "tool_" + name)(**arguments))
        except FileNotFoundError:
            return json.dumps({"error": "file not found"})
        except (AttributeError, TypeError, ValueError, SyntaxError, KeyError) as error:
            return json.dumps({"error": str(error)})

    def inside(self, path):
        full = (self.root / path).resolve()
        if not full.is_relative_to(self.root):
            raise ValueError("no permission")
        return full

    def tool_list_files(self, folder):
        return {"files": sorted(p.name for p in self.inside(folder).iterdir() if p.is_file())}

    def tool_read_file(self, path):
        return {"content": self.inside(path).read_text()}

    def tool_write_file(self, path, content):
        self.inside(path).write_text(content)
        return {"status": "ok"}

    def tool_calculate(self, expression):
        value = evaluate(ast.parse(expression, mode="eval"))
        return {"result": int(value) if value == int(value) else round(value, 3)}

    def tool_create_event(self, title, date, time=None):
        number = f"EV-{len(self.events) + 1}"
        self.events[number] = {"title": title, "date": date, "time": time}
        return {"id": number}

    def tool_list_events(self, date):
        return {"events": [e["title"] for e in self.events.values() if e["date"] == date]}

    def tool_delete_event(self, id):
        del self.events[id]
        return {"status": "ok"}
