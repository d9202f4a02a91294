"""The data of the pocket checkpoint: held-out words stay out, documents are well formed, judges judge.

Plain Python, a few seconds, no torch. Tests that need jinja2 or regex are skipped where these are
missing.
"""
import http.server
import json
import os
import random
import re
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools", "pocket"))

import cases  # noqa: E402
import changes  # noqa: E402
import chat  # noqa: E402
import conflicts  # noqa: E402
import documents  # noqa: E402
import facts  # noqa: E402
import families  # noqa: E402
import phrasings  # noqa: E402
import served  # noqa: E402
import toolsets  # noqa: E402
import words  # noqa: E402

MODEL = os.path.join(ROOT, "models", "pocket")


def gold(expected):
    """A right reply to a case."""
    if "calls" in expected:
        calls = chat.render_calls([{"name": n, "arguments": a} for n, a in expected["calls"]])
        return "It fits.\n</think>\n\n" + calls
    return "I know it.\n</think>\n\n" + expected.get("answer", "I have no tool for this.")


class Words(unittest.TestCase):
    def test_held_words_are_not_trained(self):
        trained = set(words.VERBS + words.NOUNS + words.ADJECTIVES + words.PARAM_WORDS)
        held = words.HELD_VERBS + words.HELD_NOUNS + words.HELD_ADJECTIVES + words.HELD_PARAM_WORDS
        self.assertEqual([w for w in held if w in trained], [])

    def test_invented_words_are_split_by_their_hash(self):
        for held in (False, True):
            w = words.Words(random.Random(1), held, ["ing", "call", "re"])
            self.assertTrue(all(words.is_held(w.pseudo()) == held for _ in range(300)))

    def test_tools_of_training_hold_no_held_word(self):
        rng = random.Random(2)
        held = set(words.HELD_VERBS + words.HELD_NOUNS)
        for _ in range(300):
            _, tools, _ = documents.make_document(rng)
            for t in tools or []:
                parts = set(re.findall(r"[a-z]+", t["function"]["name"].lower()))
                self.assertFalse(parts & (held - {"balance"}), t["function"]["name"])

    def test_held_families_are_not_trained(self):
        rng = random.Random(3)
        held = {f.name for f in families.HELD}
        seen = set()
        for _ in range(400):
            _, tools, _ = documents.make_document(rng)
            seen |= {t["function"]["name"] for t in tools or []}
        self.assertFalse(seen & held)
        self.assertGreater(len(families.TRAINED), 1000)


class Families(unittest.TestCase):
    written = [f for f in families.FAMILIES if f.action is None]

    def test_many_are_written_and_a_tenth_of_them_is_held_out(self):
        self.assertGreaterEqual(len(self.written), 300)
        held = [f for f in self.written if f.held]
        self.assertGreaterEqual(len(held) * 10, len(self.written))
        self.assertEqual(len({f.name for f in self.written}), len(self.written))

    def test_requests_state_what_the_tool_needs(self):
        for f in self.written:
            needed, all_of_them = {p.name for p in f.params if not p.optional}, {p.name for p in f.params}
            self.assertGreaterEqual(len(f.requests), 2, f.name)
            for r in f.requests:
                slots = re.findall(r"{([^}]*)}", r)
                self.assertEqual(len(slots), len(set(slots)), (f.name, r))
                self.assertLessEqual(needed, set(slots), (f.name, r))
                self.assertLessEqual(set(slots), all_of_them, (f.name, r))

    def test_kits_state_what_their_tools_need(self):
        names = [f.name for kit in families.KITS.values() for f in kit]
        self.assertGreaterEqual(len(names), 50)
        for f in (f for kit in families.KITS.values() for f in kit):
            needed, all_of_them = {p.name for p in f.params if not p.optional}, {p.name for p in f.params}
            for r in f.requests:
                slots = re.findall(r"{([^}]*)}", r)
                self.assertLessEqual(needed, set(slots), (f.name, r))
                self.assertLessEqual(set(slots), all_of_them, (f.name, r))
            self.assertFalse(f.held)

    def test_key_words_mean_one_tool(self):
        rng, seen = random.Random(12), 0
        for _ in range(100):
            scene = documents.Scene(rng)
            scene.set_tools(4, rng.choice((True, "mixed", "kit")))
            for tool in scene.tools:
                text = tool._key_words() if tool.everyday else None
                if text:
                    seen += 1
                    said = {w.lower() for w in re.findall("[A-Za-z]+", re.sub("{[^}]*}", "", text))}
                    others = set().union(*(toolsets.words_of_tool(t) for t in scene.tools if t is not tool))
                    self.assertTrue(said & toolsets.words_of_tool(tool) - others, (text, tool.name))
        self.assertGreater(seen, 150)

    def test_trained_families_hold_no_held_word(self):
        held = set(words.HELD_VERBS + words.HELD_NOUNS + families.HELD_OBJECTS)
        for f in self.written:
            if not f.held:
                name = set(f.name.split("_"))
                self.assertFalse(name & held, f.name)

    def test_a_bent_request_keeps_its_values(self):
        rng = random.Random(4)
        for f in self.written:
            for r in f.requests:
                bent = phrasings.bend(r, rng)
                self.assertEqual(sorted(re.findall(r"{[^}]*}", bent)), sorted(re.findall(r"{[^}]*}", r)))

    def test_a_respelled_family_is_the_same_tool(self):
        rng, changed = random.Random(5), 0
        for f in families.TRAINED[:400]:
            other = changes.respell(f, rng)
            names = [p.name for p in other.params]
            self.assertEqual(len(set(names)), len(f.params))
            for r in other.requests:
                self.assertLessEqual(set(re.findall(r"{([^}]*)}", r)), set(names), other.name)
            changed += (other.name, names) != (f.name, [p.name for p in f.params])
        self.assertGreater(changed, 100)

    def test_tools_that_one_request_could_mean_are_never_together(self):
        by_name = {f.name: f for f in self.written}
        names = {n for c in conflicts.CONFLICTS for n in c}
        self.assertLessEqual(names, set(by_name))
        self.assertTrue(toolsets.conflict(by_name["calculate"], by_name["calculator"]))
        self.assertFalse(toolsets.conflict(by_name["read_file"], by_name["list_files"]))


class Facts(unittest.TestCase):
    def test_every_fact_has_trained_phrasings(self):
        trained = {i for i, _ in facts.TRAINED}
        self.assertEqual(trained, set(range(len(facts.FACTS))))
        self.assertGreaterEqual(len(facts.FACTS), 200)

    def test_held_phrasings_are_not_trained(self):
        self.assertFalse({q for _, q in facts.HELD} & {q for _, q in facts.TRAINED})
        self.assertIn(facts.THE_QUESTION, {q for _, q in facts.TRAINED})


class Documents(unittest.TestCase):
    def test_same_seed_same_documents(self):
        a, b = documents.stream(5), documents.stream(5)
        self.assertEqual([next(a) for _ in range(50)], [next(b) for _ in range(50)])

    def test_calls_fit_their_schemas(self):
        rng = random.Random(6)
        for _ in range(400):
            messages, tools, _ = documents.make_document(rng)
            for m in messages:
                for c in m.get("tool_calls", []):
                    f = c["function"]
                    schema = next(t["function"]["parameters"] for t in tools if t["function"]["name"] == f["name"])
                    self.assertLessEqual(set(f["arguments"]), set(schema["properties"]))
                    self.assertLessEqual(set(schema.get("required", [])), set(f["arguments"]))
                    for name, value in f["arguments"].items():
                        p = schema["properties"][name]
                        if "enum" in p:
                            self.assertIn(value, p["enum"])

    def test_copied_values_stand_in_the_prompt(self):
        rng = random.Random(7)
        for _ in range(300):
            messages, tools, _ = documents.make_document(rng)
            before = ""
            for m in messages:
                for c in m.get("tool_calls", []):
                    for value in c["function"]["arguments"].values():
                        if isinstance(value, str):
                            self.assertIn(value, before)
                before += m["content"] or ""

    def test_full_replies_carry_the_full_weight(self):
        rng = random.Random(8)
        for _ in range(100):
            spans = documents.make_spans(rng)
            full = [t for t, w in spans if w == 1.0]
            self.assertTrue(full)
            self.assertTrue(all(t.endswith("[e~[") and "\n</think>\n\n" in t for t in full))

    def test_a_client_may_keep_thoughts_to_itself(self):
        rng, bare = random.Random(13), 0
        for _ in range(200):
            messages, _, keep = documents.make_document(rng)
            replies = [m for m in messages if m["role"] == "assistant"]
            self.assertIn("reasoning_content", replies[-1])
            bare += any("reasoning_content" not in m for m in replies)
        self.assertTrue(20 < bare < 120, bare)

    def test_template_and_renderer_agree(self):
        try:
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            self.skipTest("jinja2 is not installed")
        env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        env.filters["tojson"] = lambda x, ensure_ascii=False: json.dumps(x, ensure_ascii=ensure_ascii)
        with open(os.path.join(ROOT, "tools", "pocket", "chat_template.jinja"), encoding="utf-8") as f:
            template = env.from_string(f.read())
        rng = random.Random(9)
        for _ in range(200):
            messages, tools, _ = documents.make_document(rng)
            ours = "".join(t for t, _ in chat.render_spans(messages, tools))
            self.assertEqual(ours, template.render(messages=messages, tools=tools))
            first = next(i for i, m in enumerate(messages) if m["role"] == "user")
            self.assertEqual(chat.render_prompt(messages[:first + 1], tools),
                             template.render(messages=messages[:first + 1], tools=tools, add_generation_prompt=True))


class Judge(unittest.TestCase):
    def test_gold_replies_are_right(self):
        for case in cases.make_cases(20):
            self.assertLessEqual({"format", "all"}, cases.judge(case, gold(case[3])), case[0])

    def test_wrong_replies_are_wrong(self):
        for case in cases.make_cases(20):
            expected = case[3]
            if "calls" in expected:
                name, arguments = expected["calls"][0]
                self.assertNotIn("tool", cases.judge(case, gold({"calls": [(name + "x", arguments)]})))
                self.assertNotIn("all", cases.judge(case, gold({"calls": [(name, {**arguments, "zz": "1"})]})))
                self.assertNotIn("format", cases.judge(case, gold(expected)[:-5]))
            self.assertEqual(cases.judge(case, None), set())
            self.assertNotIn("format", cases.judge(case, "It fits. " + gold(expected).replace("</think>", "")))


class Served(unittest.TestCase):
    """A reply as a server gives it is judged as the same reply in the model's own text."""

    def choice(self, expected, append_think):
        message = {"content": expected.get("answer", "" if "calls" in expected else "No tool fits.")}
        if append_think:
            message["content"] = "<think>\nI see.\n</think>\n\n" + message["content"]
        else:
            message["reasoning_content"] = "I see."
        if "calls" in expected:
            message["tool_calls"] = [{"function": {"name": n, "arguments": json.dumps(a)}} for n, a in expected["calls"]]
        return {"message": message, "finish_reason": "tool_calls" if "calls" in expected else "stop"}

    def test_right_and_wrong_replies(self):
        for append_think in (False, True):
            server = served.Server("http://127.0.0.1:1", "pocket", append_think, 9)
            for case in cases.make_cases(10):
                choice = self.choice(case[3], append_think)
                closed, content, calls = server.parts(choice)
                right = cases.judge_parts(case, closed, all(cases.fits(c, case[2]) for c in calls), content, calls)
                self.assertLessEqual({"closed", "format", "all"}, right, case[0])
                choice["finish_reason"] = "length"
                self.assertFalse(server.parts(choice)[0])
                choice["message"]["content"] += "<minimax:tool_call>"
                self.assertFalse(server.parts(choice)[0])

    def test_a_full_server_is_asked_again(self):
        asked = []

        class Full(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.path)
                self.send_response(503 if len(asked) == 1 else 200)
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(json.dumps({"choices": ["here"]}).encode())

            def log_message(self, *_):
                pass

        listener = http.server.HTTPServer(("127.0.0.1", 0), Full)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        server = served.Server(f"http://127.0.0.1:{listener.server_port}/v1", "pocket", False, 9)
        case = cases.make_cases(1)[0]
        self.assertEqual(server.ask(case, 0, 1), "here")
        self.assertEqual(asked, ["/v1/chat/completions"] * 2)
        self.assertIsNone(server.judge(case, 0, 1, 0))
        listener.shutdown()
        listener.server_close()

    def test_messages_of_a_client(self):
        for case in cases.make_cases(10):
            sent, open_ids = served.wire_messages(case[1]), []
            for m in sent:
                for call in m.get("tool_calls", []):
                    self.assertIsInstance(json.loads(call["function"]["arguments"]), dict)
                    open_ids.append(call["id"])
                if m["role"] == "tool":
                    self.assertEqual(m["tool_call_id"], open_ids.pop(0))
            self.assertFalse(open_ids)


class Tokenizer(unittest.TestCase):
    """The committed tokenizer, against what the training stream needs of it."""

    def setUp(self):
        try:
            from encoder import Encoder
        except ImportError:
            self.skipTest("regex is not installed")
        if not os.path.exists(os.path.join(MODEL, "tokenizer.json")):
            self.skipTest("models/pocket is not there")
        self.encoder = Encoder(MODEL)

    def test_documents_survive(self):
        rng = random.Random(10)
        for _ in range(100):
            text = "".join(t for t, _ in documents.make_spans(rng, self.encoder.pieces()))
            self.assertEqual(self.encoder.decode(self.encoder.encode(text)), text)

    def test_a_piece_weighs_what_its_span_weighs(self):
        rng = random.Random(14)
        for _ in range(60):
            spans = documents.make_spans(rng, self.encoder.pieces())
            ids, weights = self.encoder.spans(spans)
            self.assertEqual(len(ids), len(weights))
            text = "".join(t for t, w in spans if w == 1.0)
            self.assertEqual(self.encoder.decode([i for i, w in zip(ids, weights) if w == 1.0]), text)

    def test_words_have_the_same_pieces_everywhere(self):
        # a word that begins like a function word ("notes", "no") is the exception after a space
        for word in ("recall", "building", "plates", "zorpin"):
            alone = self.encoder.encode(word)
            for frame in ('"{}"', "_{}", " {}", "/{}.", '">{}</'):
                ids = self.encoder.encode(frame.replace("{}", word))
                self.assertIn(str(alone)[1:-1], str(ids)[1:-1], (word, frame))

    def test_every_piece_occurs_in_copied_values(self):
        rng, seen = random.Random(11), set()
        w = words.Words(rng, False, self.encoder.pieces())
        for _ in range(60000):
            seen.update(self.encoder.word(w.pseudo()))
        # a few pieces are steps on the way to a longer one, or longer than an invented word may be
        missing = [p for p in self.encoder.pieces() if self.encoder.vocab[p] not in seen]
        self.assertLess(len(missing), 25, missing)

    def test_form_of_the_file(self):
        with open(os.path.join(MODEL, "tokenizer.json"), encoding="utf-8") as f:
            data = json.load(f)
        added = data["added_tokens"]
        self.assertEqual(len(added), 54)
        self.assertEqual([t["content"] for t in added if not t["special"]],
                         ["<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>"])
        self.assertEqual([t["id"] for t in added], list(range(len(data["model"]["vocab"]), self.encoder.size)))
        self.assertTrue(all(isinstance(m, str) for m in data["model"]["merges"]))
        with open(os.path.join(MODEL, "config.json"), encoding="utf-8") as f:
            self.assertGreater(json.load(f)["vocab_size"], self.encoder.size)


if __name__ == "__main__":
    unittest.main()
