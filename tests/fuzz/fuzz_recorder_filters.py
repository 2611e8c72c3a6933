"""Fuzz capture filters and the packets they meet: ``python -m tests.fuzz.fuzz_recorder_filters``.

The first line of an input is a filter in the words of the command line, the rest is a packet.
Whatever the kernel's program would leave out, the matcher leaves out, too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.datapath.recorder.bpf_machine import run as run_bpf
from tests.fuzz.harness import Target, main
from trireme_datapath.recorder import RecorderError
from trireme_datapath.recorder._bpf import Link, compile_bpf
from trireme_datapath.recorder._matcher import compile_matcher, network_start
from trireme_datapath.recorder.filter_words import parse_filter_words

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_ETHERNET = bytes.fromhex("020000000002020000000001")
_TCP = bytes.fromhex("4500002800010000400600000a010203c00002019c4001bb000000000000000050022000")
_IPV6 = bytes.fromhex(
    "6000000000183c40" + "20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02"
    "0600010400000000" + "9c4001bb"
)

_COMPLAINTS = ("no network", "no protocol", "port ", "arrow", "IPv4", "empty", "long", "cidr")

_SEEDS = (
    b"10.0.0.0/8:443 tcp\n" + _ETHERNET + b"\x08\x00" + _TCP,
    b"10.0.0.0/8 -> 192.0.2.1:443\n" + _ETHERNET + b"\x81\x00\x00\x07\x08\x00" + _TCP,
    b"[2001:db8::/32]:443 tcp\n" + _ETHERNET + b"\x86\xdd" + _IPV6,
    b"10.0.0.0/8 0 0.0.0.0/0 443 TCP\n" + _ETHERNET + b"\x08\x00" + _TCP[:22],
    b"any\n" + _ETHERNET + b"\x08\x06",
    b":53\n",
    b"10.0.0.0/255.0.0.0\n",
    b"icmp -> -> x",
)


def run(data: bytes) -> Hashable:
    """Read a filter, and ask the program and the matcher about a packet."""
    words, _, packet = data.partition(b"\n")
    try:
        filters = parse_filter_words(words.decode("utf-8", "replace"))
    except RecorderError as error:
        return next((one for one in _COMPLAINTS if one in str(error)), "other")
    start, kind = network_start(packet)
    found = compile_matcher(filters)(packet, start)
    program = compile_bpf(filters, Link.ETHERNET, 96)
    wanted = run_bpf(program.instructions, packet, protocol=kind) > 0
    if found and kind == (0x0800 if packet[start] >> 4 == 4 else 0x86DD) and not wanted:
        raise AssertionError("the kernel would lose a packet that fits")
    if program.exact and wanted and not found:
        raise AssertionError("the kernel gives a packet that does not fit")
    return len(filters), found, wanted, kind in {0x0800, 0x86DD}


TARGET = Target(name="recorder-filters", seeds=_SEEDS, run=run, max_bytes=256, max_seconds=0.05)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
