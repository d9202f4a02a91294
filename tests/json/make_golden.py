#!/usr/bin/env python3
"""Writes dumps.golden: pairs of lines, a JSON text and what Python's own json makes of it.

    python3 -X int_max_str_digits=0 tests/json/make_golden.py > tests/json/dumps.golden
"""
import json
import math
import random
import struct

rng = random.Random(20)
texts = []


def add(value):
    texts.append(json.dumps(value, ensure_ascii=rng.random() < 0.5))


# Floats: every border of repr's positional form, halves, subnormals, random bit patterns.
for exponent in range(-8, 24):
    for digits in ("1", "1.5", "9.999999999999999", "1.2345678901234567"):
        texts.append(f"{digits}e{exponent}")
        texts.append(f"-{digits}E{exponent:+d}")
texts += ["0.0", "-0.0", "1.0", "-1.0", "0.1", "0.30000000000000004", "5e-324", "-5e-324"]
texts += ["1.7976931348623157e308", "2.2250738585072014e-308", "1e-400", "-1e-400", "123456789.0"]
texts += ["9007199254740993.0", "1e22", "1e23", "4.35", "2.675", "0e5", "1E0", "100e-2", "-0e1"]
texts += ["8.41e21", "2.0e-3", "9.5367431640625e-07", "1e400", "-1e400", "NaN", "Infinity"]
texts += ["-Infinity", '[NaN, "NaN", -Infinity, {"NaN": Infinity, "b\\"Infinity": "-Infinity"}]']
for _ in range(300):
    number = struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0]
    if math.isfinite(number):
        texts.append(repr(number))
for _ in range(100):
    texts.append(f"{rng.uniform(-1e6, 1e6):.{rng.randrange(1, 12)}f}")

# Integers of any size.
for bits in (0, 1, 8, 31, 32, 53, 62, 63, 64, 65, 127, 128, 1000):
    for offset in (-1, 0, 1):
        add(2**bits + offset)
        add(-(2**bits) + offset)
texts += ["-0", "0", str(10**30), str(-(10**30)), str(7**5000)]

# Strings: every control byte, escapes, all planes, noncharacters, what looks like our own syntax.
for code in list(range(0, 0x100)) + [0x7FF, 0x800, 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFDD0, 0xFEFF,
                                     0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1F680, 0x10FFFF]:
    add(chr(code))
texts += ['"\\/"', '"\\u0041\\u00e9\\ud83d\\ude80"', '"\\u0000"', '"\\\\u0041"', '"</script>&\'"', '""']

# Containers: order of keys, repeated keys, emptiness, white space, nesting.
texts += ["[]", "{}", "[[]]", '{"a":{}}', ' [ 1 ,\t2\r,3 ] ', '{"b":1,"a":2,"c":3}',
          '{"a":1,"b":2,"a":3}', '{"":0}', '[1,1.0,true,"1",null]', '{"a": [{"b": {"c": [1]}}]}']
texts.append(json.dumps({f"k{i % 40}_{i // 40 % 2}": i for i in range(100)}))
texts.append("{" + ",".join(f'"k{i % 30}":{i}' for i in range(90)) + "}")


def random_value(depth):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.randrange(-(10**rng.randrange(1, 25)), 10**20)
    if kind == 3:
        return rng.choice([1.0, -0.0, 1e16, 1e-5, rng.gauss(0, 1), rng.gauss(0, 1) * 1e200])
    if kind <= 5:
        return "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x3000, 0x9000),
                                       rng.randrange(0x1F600, 0x1F650), 10, 9, 34, 92]))
                       for _ in range(rng.randrange(12)))
    if kind == 6:
        return [random_value(depth + 1) for _ in range(rng.randrange(6))]
    return {f"{rng.choice('zyxab')}{i}": random_value(depth + 1)
            for i in range(rng.randrange(6))}


for _ in range(200):
    add(random_value(0))

for text in texts:
    text = text.replace("\n", " ")
    print(text)
    # -0 is the integer 0 in Python too.
    print(json.dumps(json.loads(text), ensure_ascii=False))
