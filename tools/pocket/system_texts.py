"""System texts: none, short, and long ones of thousands of tokens that the answer must ignore."""

SHORT = ["You are a helpful assistant.", "Be brief.", "You are a helpful AI assistant.", "Answer in one sentence.",
         "You are a friendly assistant. Answer the questions of the user.", "You are an agent that uses tools.",
         "You help the user with tools. Call a tool when it fits.", "Be polite and short.",
         "You are a coding assistant.", "Use the tools if they help.", "You are an expert."]


class SystemTexts:
    def __init__(self, rng, words, values):
        self.rng, self.words, self.values = rng, words, values

    def sentence(self):
        r, w, v = self.rng, self.words, self.values
        k = r.randint(0, 13)
        if k == 0:
            return f"Always {w.verb()} the {w.noun()} before you {w.verb()} a {w.noun()}."
        if k == 1:
            return f"The {w.noun()} of {v.name()} is {w.adjective()}."
        if k == 2:
            return f"Never {w.verb()} a {w.adjective()} {w.noun()}."
        if k == 3:
            return f"- {w.param()}: {v.integer()}"
        if k == 4:
            return f"If the {w.noun()} is {w.adjective()}, then {w.verb()} it."
        if k == 5:
            return f"Our {w.noun()} is open from {v.time()} to {v.time()}."
        if k == 6:
            return f"* Use {v.file()} for the {w.noun()}."
        if k == 7:
            return f"Write to {v.email()} about any {w.noun()}."
        if k == 8:
            return f"There are {r.randint(2, 99)} {w.noun()}s in {v.city()}."
        if k == 9:
            return f"When the user asks for a {w.noun()}, be {w.adjective()}."
        if k == 10:
            return f"You can see more at {v.url()}."
        if k == 11:
            return f"{w.param()} = \"{v.phrase()}\""
        if k == 12:
            return f"Remember that {v.name()} is in {v.city()} on {v.day()}."
        return f"The {w.adjective()} {w.noun()} has the id {v.id()}."

    def long(self, sentences):
        r, w = self.rng, self.words
        lines, left = [r.choice(SHORT)], sentences
        while left > 0:
            if r.random() < 0.3:
                lines.append(r.choice(("# ", "## ", "")) + f"{w.noun().capitalize()} {w.noun()}")
            n = min(left, r.randint(2, 8))
            glue = r.choice((" ", "\n", "\n"))
            lines.append(glue.join(self.sentence() for _ in range(n)))
            left -= n
        return r.choice(("\n", "\n\n")).join(lines)

    def any(self):
        """None means the template's own identity."""
        r = self.rng
        x = r.random()
        if x < 0.4:
            return None
        if x < 0.62:
            text = SHORT[0]
        elif x < 0.8:
            text = r.choice(SHORT)
        else:
            text = self.long(r.randint(1, 6))
        if r.random() < 0.08:
            text += f"\nCurrent date: {self.values.date()}"
        return text
