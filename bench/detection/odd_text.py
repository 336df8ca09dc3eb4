"""People with subjects of their own who write what an encoder hardly reads: are they taken for a campaign?

Of composed traffic with campaigns, groups of ordinary people have their prompts rewritten: in another script, as
numbers, in base64, as pictures, as one word. Nothing else about them changes, so whoever of them is accused is accused
because the encoder cannot tell their prompts apart.

`python -m bench.detection.odd_text --model hash --seeds 1 2` composes built-in text; with `--corpus`, its tuning half.
"""

import argparse
import base64
import codecs
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from bench.detection.vectors import VectorCache
from bench.detection.windows import make_window
from coterie.detection import detect
from coterie.domain import Exchange
from coterie.simulation import Config, Traffic, simulate

_PICTURES = 0x1F600
_CHARS_MAX = 400

Rewriting = Callable[[str], str]


def _in_script(first: int) -> Rewriting:
    """Every letter of the alphabet as another letter of a script."""
    table = {
        ord(letter) + case: chr(first + row)
        for row, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
        for case in (0, -32)
    }
    return lambda text: text.translate(table)


def _ideographs(text: str) -> str:
    return "".join(chr(0x4E00 + zlib.crc32(word.encode()) % 6_000) for word in text.lower().split())


def _numbers(text: str) -> str:
    return " ".join(str(zlib.crc32(word.encode()) % 1_000) for word in text.lower().split()[:12])


def _one_word(text: str) -> str:
    return max(re.findall(r"[^\W\d_]+", text) or ["what"], key=len)


def _call(text: str) -> str:
    return "x = run(" + ", ".join(repr(word) for word in re.findall(r"\w+", text)[:8]) + ")\nprint(x)"


REWRITINGS: dict[str, Rewriting] = {
    "telugu": _in_script(0x0C15),
    "ethiopic": _in_script(0x1260),
    "georgian": _in_script(0x10D0),
    "khmer": _in_script(0x1780),
    "cyrillic": _in_script(0x0430),
    "ideographs": _ideographs,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "numbers": _numbers,
    "digits": lambda text: _numbers(text).replace(" ", ""),
    "pictures": lambda text: "".join(chr(_PICTURES + ord(letter) % 64) for letter in text[:60]),
    "one_word": _one_word,
    "three_words": lambda text: " ".join(text.split()[:3]),
    "code": _call,
}


def rewritten(traffic: Traffic, seed: int, size: int, kinds: Sequence[str] = tuple(REWRITINGS)) -> Traffic:
    """The traffic with `size` of its ordinary people for each kind rewritten; the kind is their class."""
    people = sorted(account for account, entry in traffic.truth.items() if entry["kind"] == "person")
    chosen = Random(seed).sample(people, min(len(people), size * len(kinds)))
    kind_of = {account: kinds[number % len(kinds)] for number, account in enumerate(chosen)}
    truth = {
        account: {**entry, "kind": kind_of[account], "crowd": kind_of[account]} if account in kind_of else entry
        for account, entry in traffic.truth.items()
    }
    return Traffic([_rewritten(event, kind_of) for event in traffic.events], truth)


def _rewritten(event: Exchange, kind_of: dict[str, str]) -> Exchange:
    kind = kind_of.get(event.account_id)
    return event if kind is None else replace(event, prompt=REWRITINGS[kind](event.prompt[:_CHARS_MAX]))


def main() -> None:
    """Print who of each kind is accused, and how campaigns fare beside them, a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--model", default="hash")
    parser.add_argument("--cache", type=Path, default=Path("bench/.cache"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--size", type=int, default=14)
    given = parser.parse_args()
    for seed in given.seeds:
        split = "tune" if given.corpus else "all"
        config = Config(given.corpus, given.accounts, "easy", seed=seed, responses=0.0, split=split)
        traffic = rewritten(simulate(config), seed, given.size)
        found = detect(make_window(traffic.events, VectorCache(given.cache, given.model))).findings
        accused = {member.account_id for one in found if one.kind == "campaign" for member in one.accounts}
        guilty = {account for account, entry in traffic.truth.items() if entry["label"] != "benign"}
        wrong = Counter(traffic.truth[account]["kind"] for account in accused - guilty)
        print(f"seed {seed}: {len(accused & guilty)} of {len(guilty)} guilty found, innocents accused: {dict(wrong)}")


if __name__ == "__main__":
    main()
