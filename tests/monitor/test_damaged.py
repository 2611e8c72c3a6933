"""Messages and sessions that were cut or changed on the way: a text, or a line that says why.

All cuts and one changed bit of every byte are too many for each run. A run takes every so many,
begins with another one for each message, and so meets every offset in some message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.monitor.cilium_vectors import cases
from tests.monitor.test_output import TYPES
from trireme_datapath.monitor import Formatter, Mode, render_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 17
STREAM_STEP = 101


def damaged(data: bytes, start: int, step: int) -> Iterator[bytes]:
    """Cut the bytes, and flip a bit, at every so many offsets."""
    for at in range(start % step, len(data), step):
        yield data[:at]
        yield data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


@pytest.mark.parametrize("profile", ["1.16.2", "1.9.18"])
def test_messages(profile: str) -> None:
    formatters = [Formatter(profile=profile, mode=mode) for mode in (Mode.DEBUG, Mode.VERBOSE)]
    as_json = Formatter(profile=profile, mode=Mode.JSON, fixed=True)
    for number, (of, case) in enumerate(cases(*TYPES)):
        if of != profile:
            continue
        for data in damaged(bytes.fromhex(case["hex"]), number, STEP):
            for formatter in formatters:
                formatter.message(data, 1).encode()
            (line,) = as_json.message(data, 1).splitlines()
            assert json.loads(line)["type"]
    assert as_json.seen.malformed > 500


@pytest.mark.parametrize("fixed", [False, True])
def test_sessions(fixed: bool) -> None:
    for number, (profile, case) in enumerate(cases("stream")):
        whole = bytes.fromhex(case["stream_hex"])
        undamaged = render_stream(whole, profile=profile, fixed=fixed)
        for at, data in enumerate(damaged(whole, number * 13, STREAM_STEP)):
            text = render_stream(data, profile=profile, fixed=fixed)
            if at % 2 == 0:  # a session that is cut shows its start
                assert undamaged.startswith(text)
