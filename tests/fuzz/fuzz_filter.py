"""Fuzz filter expressions: ``python -m tests.fuzz.fuzz_filter --seconds 60 --seed 1``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector import RECORD_TYPES
from trireme_collector.filters import ExpressionError, compile_expression

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEEDS = (
    'type == "flow" and action == "reject" and destination.port in [22, 23]',
    'source.ip in ["10.0.0.0/8", "2001:db8::/32"] or not policy_id =~ "test-*?"',
    "not (encrypt or (trireme_packet == false and packets >= 0x10))",
    "tags != 'app=web' and event not in ['start', \"stop\",] and claims =~ ''",
    "(((((((((count < 3)))))))))",
    "a ==",
    "'",
    r"uri == '\\\''",
)


def _check(error: ExpressionError, length: int) -> Hashable:
    """Check a refusal, and say which it is: the message without numbers and quoted words."""
    assert 0 <= error.at <= length
    message = str(error)
    assert message.isprintable()
    return re.sub(r'"[^"]*"|\d+|\(did you mean.*', "", message.partition("expected")[2])


def run(data: bytes) -> Hashable:
    """Compile the bytes as an expression and ask it about an empty record of each kind."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        tests = compile_expression(text)
    except ExpressionError as error:
        return _check(error, len(text))
    found = []
    for kind in RECORD_TYPES.values():
        test = tests[kind]
        found.append(test if isinstance(test, bool) else test(kind()))
    return tuple(found)


TARGET = Target(
    name="filter",
    seeds=tuple(seed.encode() for seed in _SEEDS),
    run=run,
    max_bytes=4096,
    # Read once, at the start; no input may hold that up.
    max_seconds=0.25,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
