"""Recorder captures: packets that match a rule of Cilium's recorder."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from trireme_datapath.monitor._captured import captured_layers, captured_packet
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.dissection import (
    DissectSummary,  # noqa: TC001  msgspec reads the annotation at run time
)

__all__ = [
    "RECORDER_CAPTURE_LEN",
    "RecorderCapture",
    "RecorderCaptureVerbose",
    "decode_recorder_capture",
]

# type, direction, rule, reserved, time since boot (read as signed), captured, length
_LAYOUT: Final = struct.Struct("<BBHIqII")
_INGRESS: Final = 1

RECORDER_CAPTURE_LEN: Final = _LAYOUT.size


class RecorderCapture(Struct, frozen=True, kw_only=True, gc=False):
    """A packet that matches a rule of the recorder.

    Attributes:
        type: 6.
        sub_type: 1 if it came in.
        rule_id: The rule.
        reserved: 0.
        time_boot: When, in nanoseconds since the machine started.
        cap_len: How much of the packet was captured.
        len: The length of the packet.
    """

    type: int = 0
    sub_type: int = 0
    rule_id: int = 0
    reserved: int = 0
    time_boot: int = 0
    cap_len: int = 0
    len: int = 0

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare, of which there are none."""
        del self
        return 0, 0

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level: the same for all, unless there is to be JSON."""
        if display.fixed and level is Level.JSON:
            return self.dump_json(data, prefix, display)
        return self.dump_info(data, display)

    def direction(self) -> str:
        """Name the direction."""
        return "ingress" if self.sub_type == _INGRESS else "egress"

    def headline(self) -> str:
        """Give the line above the packet."""
        return (
            f"Recorder capture: dir:{self.direction()} rule:{self.rule_id} ts:{self.time_boot} "
            f"caplen:{self.cap_len} len:{self.len}\n"
        )

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the lines, which are the same in all forms."""
        packet = captured_packet(data[RECORDER_CAPTURE_LEN:], display, dissected=True)
        return f"{self.headline()}{packet}----\n"

    def dump_json(self, data: bytes, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give a JSON form, which Cilium has none of."""
        return encode_verbose(
            RecorderCaptureVerbose(
                cpu_prefix=cpu_prefix,
                direction=self.direction(),
                rule_id=self.rule_id,
                time_boot=self.time_boot,
                cap_len=self.cap_len,
                bytes=self.len,
                summary=captured_layers(data[RECORDER_CAPTURE_LEN:], display),
            )
        )


class RecorderCaptureVerbose(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "cpu_prefix": "cpu",
        "rule_id": "ruleID",
        "time_boot": "timeBoot",
        "cap_len": "capLen",
    },
):
    """The JSON form of a recorder capture, in the order of its keys."""

    cpu_prefix: str
    type: str = "recorder"
    direction: str
    rule_id: int
    time_boot: int
    cap_len: int
    bytes: int
    summary: DissectSummary


def decode_recorder_capture(data: bytes) -> RecorderCapture:
    """Read a recorder capture.

    Raises:
        MessageError: It is too short.
    """
    if len(data) < RECORDER_CAPTURE_LEN:
        raise MessageError(
            f"unexpected RecorderCapture data length, expected {RECORDER_CAPTURE_LEN} "
            f"but got {len(data)}"
        )
    kind, sub_type, rule_id, reserved, time_boot, cap_len, length = _LAYOUT.unpack_from(data)
    return RecorderCapture(
        type=kind,
        sub_type=sub_type,
        rule_id=rule_id,
        reserved=reserved,
        time_boot=time_boot,
        cap_len=cap_len,
        len=length,
    )
