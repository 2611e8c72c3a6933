"""What the fuzz targets of the monitor's decoders share: a message in every form, no fault."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target
from tests.monitor.cilium_vectors import cases
from trireme_datapath.monitor import Formatter, MessageError, Mode, decode_message

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["message_target"]

_PROFILES = ("1.16", "1.9")
# Each form of a message of 2 KiB may take a millisecond; 28 are made of each input.
_MAX_SECONDS = 0.028
_LINK_NAMES = {2: "eth0"}
# A line without its values tells one way through a decoder from another.
_VALUES = re.compile(r"[0-9a-f.:x]+")
_MAX_SHAPE = 80


def _forms(data: bytes, profile: str) -> Hashable:
    """Make every form of a message, and say what it is like."""
    shape = ""
    for mode in Mode:
        plain = Formatter(profile=profile, mode=mode, ifnames=_LINK_NAMES)
        shown = plain.message(data, 3)
        shown.encode()
        if mode is Mode.DEBUG:
            shape = _VALUES.sub("", shown)[:_MAX_SHAPE]
        fixed = Formatter(profile=profile, mode=mode, ifnames=_LINK_NAMES, fixed=True)
        text = fixed.message(data, 3)
        text.encode()
        assert plain.seen.malformed == fixed.seen.malformed
        if mode is Mode.JSON:
            (line,) = text.splitlines()
            assert isinstance(json.loads(line), dict)
    try:
        kind: object = type(decode_message(data, profile))
    except MessageError as error:
        kind = re.sub(r"\d+|[\"'].*", "", str(error))
    return kind, shape


def message_target(number: int, name: str) -> Target:
    """Make the target of one kind of message; the type of an input is set to that kind."""
    first = bytes([number])

    def run(data: bytes) -> Hashable:
        return tuple(_forms(first + data[1:], profile) for profile in _PROFILES)

    messages = [bytes.fromhex(case["hex"]) for _, case in cases(name)]
    return Target(
        name=f"monitor-{name}",
        seeds=tuple(messages),
        run=run,
        max_bytes=2048,
        max_seconds=_MAX_SECONDS,
    )
