"""Writes keys.txt: the keys of all tables, in hexadecimal, one a line; `null` is no key, `empty` the empty one.

Usage: keys.py >keys.txt. Lengths from 0 to 64, bytes of every value, UTF-8, numbers, and what hashes trip over.
"""

import random

COUNT = 1000
SEED = 794


def keys():
    chance = random.Random(SEED)
    made = [b""]
    made += [text.encode() for text in ("a", "ab", "abc", "abcd", "21", "foobar", "kafka", "23456", "hejsan", "1234", "4")]
    made += [bytes([value]) for value in (0x00, 0x7F, 0x80, 0xFF)]
    made += [bytes([value]) * length for value in (0x00, 0x80, 0xFF) for length in (2, 3, 4, 5, 7, 8, 63, 64)]
    made += [str(number).encode() for number in range(100)]
    made += [f"customer-{number:04}/order-{number * 7919 % 10007}".encode() for number in range(100)]
    for length in range(1, 65):  # every length with every remainder, bytes of every value
        made += [chance.randbytes(length) for _ in range(6)]
    alphabet = "aäöüßéñøłžабвгдежзийклαβγδε日本語漢字한국어🙂🦀€—"
    while len(set(made)) < COUNT:
        text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 40))).encode()
        made.append(text[: chance.randint(1, 64)] if chance.random() < 0.2 else text[:64])
    return list(dict.fromkeys(made))[:COUNT]


print("null")
for key in keys():
    print(key.hex() or "empty")
