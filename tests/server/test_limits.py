"""The limits in the proto comments are the limits of the code."""

import re
from dataclasses import asdict
from pathlib import Path

import coterie.v1
from coterie.domain import LIMITS

PROTO = Path(next(iter(coterie.v1.__path__)))
NAMED = re.compile(r"\[([a-z_]+) = (\d+)\]")


def test_every_named_limit_in_the_proto_is_that_limit_and_none_is_missing() -> None:
    named: dict[str, set[int]] = {}
    for file in sorted(PROTO.glob("*.proto")):
        for name, value in NAMED.findall(file.read_text()):
            named.setdefault(name, set()).add(int(value))
    assert named == {name: {value} for name, value in asdict(LIMITS).items()}
