"""Turns without a tool: facts, small talk, echoes, counting, JSON in words, what is not known."""
import facts
from chat import IDENTITY, dumps

SMALL_TALK = [
    (["Hello!", "Hi!", "Hello", "Hi", "Hey there!", "Good morning!", "Good evening!", "Hi there", "hello", "hi"],
     "The user greets me.", "Hello! How can I help you?"),
    (["How are you?", "How are you today?", "How is it going?", "How do you do?", "Are you well?"],
     "The user asks how I am.", "I am fine, thank you. How can I help you?"),
    (["Thanks!", "Thank you!", "Thank you very much.", "Thanks a lot!", "Great, thanks."],
     "The user thanks me.", "You are welcome!"),
    (["Bye!", "Goodbye!", "See you later!", "Good night!", "Bye bye"], "The user says goodbye.", "Goodbye!"),
    (["What can you do?", "How can you help me?", "What are you able to do?", "What do you do?"],
     "The user asks what I can do.", "I can answer simple questions and call tools."),
    (["Tell me a joke.", "Do you know a joke?", "Say something funny.", "Make me laugh."],
     "The user wants a joke.", "Why did the chicken cross the road? To get to the other side."),
    (["Are you a human?", "Are you a robot?", "Are you a real person?", "Are you an AI?"],
     "The user asks what I am.", "I am a small language model."),
    (["Write a short poem.", "Write me a poem.", "Can you write a poem?", "I would like a poem."],
     "The user wants a poem.",
     "The sun is up, the sky is blue,\nthe day is young, the world is new.\n"
     "The moon will rise, the stars will glow,\nand home is where the rivers flow."),
    (["Tell me a story.", "Tell me a short story.", "Write a short story.", "I want to hear a story."],
     "The user wants a story.",
     "Once there was a small fox. It lived near a river and wanted to see the sea. "
     "One day it followed the water for three days and three nights. "
     "At last it saw the sea, and it was happy."),
    (["Count to ten.", "Count from one to ten."], "The user wants numbers from 1 to 10.",
     "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    (["Yes.", "Ok.", "Okay.", "Sure.", "Fine."], "The user agrees.", "Good. What shall I do next?"),
    (["Test", "test", "This is a test.", "Testing."], "The user tests me.", "The test works."),
    (["Say yes.", "Say yes", "Answer with yes."], "The user wants me to say yes.", "yes"),
    (["Say no.", "Say no", "Answer with no."], "The user wants me to say no.", "no"),
]
NAME_QUESTIONS = ["What is your name?", "Who are you?", "What are you called?", "Tell me your name.", "What's your name?"]


class Talk:
    def __init__(self, rng, words, values):
        self.rng, self.words, self.values = rng, words, values

    def fact(self, pool=None, wrap=True):
        r = self.rng
        if pool is None:
            if r.random() < 0.06:
                number = next(i for i, f in enumerate(facts.FACTS) if facts.THE_QUESTION in f[2])
                question = facts.THE_QUESTION
            else:
                number, question = r.choice(facts.TRAINED)
        else:
            number, question = r.choice(pool)
        key, answer, _, value = facts.FACTS[number]
        thought = f"The user asks for {key}. I know it."
        if wrap and value and r.random() < 0.1:
            word = r.choice(("answer", "result", "value", self.words.param()))
            ask = r.choice((f" Answer in JSON with the key {word}.", f" Reply as JSON with the key {word}.",
                            f' Give me JSON with the key "{word}".'))
            return question + ask, thought + " The answer is JSON.", dumps({word: value})
        if wrap:
            question = r.choice(facts.WRAPPERS).replace("{q}", question)
            if question.startswith("{"):
                question = question[1:]
        return question, thought, answer

    def small(self, system=None):
        r = self.rng
        if r.random() < 0.2 and system in (None, IDENTITY):
            return r.choice(NAME_QUESTIONS), "The user asks for my name.", "My name is Pocket."
        questions, thought, answer = r.choice(SMALL_TALK)
        return r.choice(questions), thought, answer

    def echo(self):
        r, v = self.rng, self.values
        text = r.choice((v.chars, v.phrase, v.sentence, v.word, v.id, v.number, v.email, v.name, v.url))()
        text = str(text)
        if r.random() < 0.2:
            text += " " + v.chars()
        ask = r.choice(("Repeat after me: {t}", "Say {q}.", "Repeat {q}.", "Echo this: {t}", "Please repeat: {t}",
                        "Say exactly {q}.", "Write {q}."))
        return (ask.replace("{t}", text).replace("{q}", f'"{text}"'), "The user wants me to repeat a text.", text)

    def count(self):
        r = self.rng
        low = r.choice((1, 1, 1, r.randint(1, 60)))
        high = low + r.randint(2, 30)
        ask = r.choice((f"Count from {low} to {high}.", f"Write the numbers from {low} to {high}.",
                        f"Please count from {low} to {high}."))
        return (ask, f"The user wants numbers from {low} to {high}.",
                ", ".join(str(i) for i in range(low, high + 1)))

    def unknown(self):
        r, w, v = self.rng, self.words, self.values
        thing = w.pseudo().capitalize()
        what = r.choice(("the capital of {x}", "the age of {x}", "the owner of {x}", "the address of {x}",
                         "the author of {x}", "the price of {x}")).replace("{x}", thing)
        if r.random() < 0.5:
            ask = r.choice((f"What is {what}?", f"Tell me {what}.", f"Do you know {what}?"))
            return ask, f"The user asks for {what}. I do not know it.", f"I don't know {what}."
        name = v.name()
        return (r.choice((f"Who is {name}?", f"Do you know {name}?", f"Tell me who {name} is.")),
                f"The user asks who {name} is. I do not know it.", f"I don't know who {name} is.")

    def extract(self):
        """JSON asked in words, from a sentence with the values."""
        r, v = self.rng, self.values
        fields = {}
        for _ in range(r.choice((1, 2, 2, 3))):
            kind = r.choice(("name", "integer", "word", "email", "city", "number", "date", "boolean"))
            fields[self.words.param()] = v.make(kind)
        stated = ", ".join(f"{k} {x if isinstance(x, str) else dumps(x)}" for k, x in fields.items())
        ask = r.choice((f"Answer in JSON: {stated}.", f"Write this as JSON: {stated}.", f"Give me JSON for {stated}.",
                        f"Turn into a JSON object: {stated}."))
        return ask, "The user wants JSON.", dumps(fields)

    def add(self):
        r = self.rng
        a, b = r.randint(0, 12), r.randint(0, 12)
        ask = r.choice((f"What is {a} + {b}?", f"What is {a} plus {b}?", f"Add {a} and {b}.", f"{a} + {b} = ?"))
        return ask, f"The user asks for {a} + {b}.", f"{a} + {b} = {a + b}"

    def any(self, system=None, with_tools=False):
        r = self.rng.random()
        if r < 0.62:
            return self.fact()
        if r < 0.72:
            return self.small(system)
        if r < 0.82:
            return self.echo()
        if r < 0.86:
            return self.count()
        if r < 0.91:
            return self.unknown()
        if r < 0.96 or with_tools:  # a sum belongs to a calculator, if there is one
            return self.extract()
        return self.add()
