"""Filters as a program of the classic packet filter, which the kernel runs before it copies.

It lets everything through that a filter fits, and little else: IPv6 packets with extension
headers pass when their addresses fit, and `compile_matcher` decides about them.
Instructions: Linux, Documentation/networking/filter.rst.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_datapath.recorder._matcher import IPV4_TYPE, IPV6_TYPE, MAX_TAGS, VLAN_TYPES
from trireme_datapath.recorder.filters import PORT_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_datapath.recorder.filters import CaptureFilter, Network

__all__ = ["MAX_INSTRUCTIONS", "REJECT_ALL", "Instruction", "Link", "Program", "compile_bpf"]

MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS

_LD_W_ABS: Final = 0x20
_LD_H_ABS: Final = 0x28
_LD_W_IND: Final = 0x40
_LD_H_IND: Final = 0x48
_LD_B_IND: Final = 0x50
_LD_MEM: Final = 0x60
_LDX_IMM: Final = 0x01
_LDX_MEM: Final = 0x61
_ST: Final = 0x02
_AND: Final = 0x54
_LSH: Final = 0x64
_RSH: Final = 0x74
_ADD_X: Final = 0x0C
_TAX: Final = 0x07
_JA: Final = 0x05
_JEQ: Final = 0x15
_JSET: Final = 0x45
_RET: Final = 0x06

# Loads beyond every packet give what the kernel knows about it (SKF_AD_* of linux/filter.h).
_AD_PROTOCOL: Final = 0xFFFFF000
_AD_PACKET_TYPE: Final = 0xFFFFF000 + 4
_AD_HARDWARE_TYPE: Final = 0xFFFFF000 + 28
_PACKET_OUTGOING: Final = 4
_ARPHRD_LOOPBACK: Final = 772

_TYPE_SLOT: Final = 0
_START_SLOT: Final = 1
_EXTENSIONS: Final = (0, 43, 44, 51, 60, 135, 139, 140)
_ALL_ONES: Final = 0xFFFFFFFF
_FAIL: Final = -1  # stands for the jump to the next filter until that is known

_instruction = Struct("=HBBI")


class Link(enum.Enum):
    """What a packet begins with, as the filter sees it."""

    ETHERNET = "ethernet"
    NETWORK = "network"
    """Its network header: interfaces without link headers, or a socket that cuts them off."""


class Instruction(NamedTuple):
    """One instruction: what, how far to jump if true and if false, and a constant."""

    code: int
    if_true: int
    if_false: int
    constant: int


REJECT_ALL: Final = (Instruction(_RET, 0, 0, 0),)
"""The program that lets nothing through."""


class Program(NamedTuple):
    """A program, and whether it is all that there is to check."""

    instructions: tuple[Instruction, ...]
    exact: bool

    def encode(self) -> bytes:
        """Give the array of ``struct sock_filter``."""
        return b"".join([_instruction.pack(*one) for one in self.instructions])


def compile_bpf(
    filters: Sequence[CaptureFilter], link: Link, capture_bytes: int, *, loopback: bool = False
) -> Program:
    """Compile filters.

    Args:
        filters: At least one.
        link: What packets begin with.
        capture_bytes: How much of a packet the kernel gives.
        loopback: Leave out what a loopback interface sends: it all comes in again.
    """
    code = _preamble(link, loopback=loopback)
    # A packet that is too short for its ports ends the program: what needs none is asked first.
    for one in sorted(dict.fromkeys(filters), key=lambda one: one.has_ports):
        code += _block(one, capture_bytes)
    code.append(Instruction(_RET, 0, 0, 0))
    exact = not any(_is_vague(one) for one in filters)
    if len(code) <= MAX_INSTRUCTIONS:
        return Program(tuple(code), exact)
    # Too many for the kernel: it leaves out what is no IP packet, the matcher does the rest.
    code = _preamble(link, loopback=loopback)
    code += [
        Instruction(_LD_MEM, 0, 0, _TYPE_SLOT),
        Instruction(_JEQ, 1, 0, IPV4_TYPE),
        Instruction(_JEQ, 0, 1, IPV6_TYPE),
        Instruction(_RET, 0, 0, capture_bytes),
        Instruction(_RET, 0, 0, 0),
    ]
    return Program(tuple(code), exact=False)


def _is_vague(one: CaptureFilter) -> bool:
    return one.source.version == 6 and bool(one.protocol or one.has_ports)


def _preamble(link: Link, *, loopback: bool) -> list[Instruction]:
    """Note the EtherType and where the network header begins."""
    code: list[Instruction] = []
    if loopback:
        code += [
            Instruction(_LD_W_ABS, 0, 0, _AD_HARDWARE_TYPE),
            Instruction(_JEQ, 0, 3, _ARPHRD_LOOPBACK),
            Instruction(_LD_W_ABS, 0, 0, _AD_PACKET_TYPE),
            Instruction(_JEQ, 0, 1, _PACKET_OUTGOING),
            Instruction(_RET, 0, 0, 0),
        ]
    if link is Link.ETHERNET:
        start = 14
        code.append(Instruction(_LD_H_ABS, 0, 0, 12))
    else:
        start = 0
        code.append(Instruction(_LD_W_ABS, 0, 0, _AD_PROTOCOL))
    return [*code, *_step_over_tags(start)]


def _step_over_tags(start: int) -> list[Instruction]:
    """With a type in A, step over tags; X keeps where the network header begins."""
    tags = sorted(VLAN_TYPES)
    # For each tag: is it one, then load the type behind it; if not, note the start and leave.
    step = len(tags) + 3
    code: list[Instruction] = []
    for number in range(MAX_TAGS):
        code += [
            *[Instruction(_JEQ, len(tags) - index + 1, 0, tag) for index, tag in enumerate(tags)],
            Instruction(_LDX_IMM, 0, 0, start + 4 * number),
            Instruction(_JA, 0, 0, step * (MAX_TAGS - number) - len(tags) - 1),
            Instruction(_LD_H_ABS, 0, 0, start + 4 * number + 2),
        ]
    return [
        *code,
        Instruction(_LDX_IMM, 0, 0, start + 4 * MAX_TAGS),
        Instruction(_ST, 0, 0, _TYPE_SLOT),
        Instruction(0x03, 0, 0, _START_SLOT),  # STX
    ]


def _block(one: CaptureFilter, capture_bytes: int) -> list[Instruction]:
    """Give the instructions of one filter; whatever does not fit goes on behind them."""
    version = one.source.version
    kind, nibble = (IPV4_TYPE, 0x40) if version == 4 else (IPV6_TYPE, 0x60)
    code = [
        Instruction(_LD_MEM, 0, 0, _TYPE_SLOT),
        Instruction(_JEQ, 0, _FAIL, kind),
        Instruction(_LDX_MEM, 0, 0, _START_SLOT),
        Instruction(_LD_B_IND, 0, 0, 0),
        Instruction(_AND, 0, 0, 0xF0),
        Instruction(_JEQ, 0, _FAIL, nibble),
        # The last byte of the header: a packet that ends before it is none.
        Instruction(_LD_B_IND, 0, 0, 19 if version == 4 else 39),
    ]
    places = (12, 16) if version == 4 else (8, 24)
    for place, network in zip(places, (one.source, one.destination), strict=True):
        code += _address(place, network)
    if one.protocol or one.has_ports:
        code.append(Instruction(_LD_B_IND, 0, 0, 9 if version == 4 else 6))
        code += _protocol(one, capture_bytes)
    if one.has_ports:
        code += _ports(one)
    code.append(Instruction(_RET, 0, 0, capture_bytes))
    end = len(code)
    return [
        ins._replace(
            if_true=end - index - 1 if ins.if_true == _FAIL else ins.if_true,
            if_false=end - index - 1 if ins.if_false == _FAIL else ins.if_false,
        )
        for index, ins in enumerate(code)
    ]


def _address(place: int, network: Network) -> Iterable[Instruction]:
    words = network.max_prefixlen // 32
    for index in range(words):
        shift = 32 * (words - 1 - index)
        mask = int(network.netmask) >> shift & _ALL_ONES
        value = int(network.network_address) >> shift & _ALL_ONES
        if not mask:
            return
        yield Instruction(_LD_W_IND, 0, 0, place + 4 * index)
        if mask != _ALL_ONES:
            yield Instruction(_AND, 0, 0, mask)
        yield Instruction(_JEQ, 0, _FAIL, value)


def _protocol(one: CaptureFilter, capture_bytes: int) -> list[Instruction]:
    wanted = sorted({one.protocol} if one.protocol else PORT_PROTOCOLS)
    if one.has_ports:
        wanted = sorted(PORT_PROTOCOLS.intersection(wanted))
    code: list[Instruction] = []
    if one.source.version == 6:
        last = len(_EXTENSIONS) - 1
        code += [
            Instruction(_JEQ, last - index, 0 if index < last else 1, number)
            for index, number in enumerate(_EXTENSIONS)
        ]
        code.append(Instruction(_RET, 0, 0, capture_bytes))
    if not wanted:  # ports of a protocol that has none
        return [*code, Instruction(_JEQ, _FAIL, _FAIL, 0)]
    last = len(wanted) - 1
    code += [
        Instruction(_JEQ, last - index, 0 if index < last else _FAIL, number)
        for index, number in enumerate(wanted)
    ]
    return code


def _ports(one: CaptureFilter) -> list[Instruction]:
    code: list[Instruction] = []
    if one.source.version == 4:
        code += [
            Instruction(_LD_H_IND, 0, 0, 6),
            Instruction(_JSET, _FAIL, 0, 0x1FFF),
            Instruction(_LD_B_IND, 0, 0, 0),
            Instruction(_AND, 0, 0, 0x0F),
            Instruction(_LSH, 0, 0, 2),
            Instruction(_ADD_X, 0, 0, 0),
            Instruction(_TAX, 0, 0, 0),
            Instruction(_LD_W_IND, 0, 0, 0),
        ]
    else:
        code.append(Instruction(_LD_W_IND, 0, 0, 40))
    if one.source_port and one.destination_port:
        both = one.source_port << 16 | one.destination_port
        return [*code, Instruction(_JEQ, 0, _FAIL, both)]
    if one.source_port:
        code.append(Instruction(_RSH, 0, 0, 16))
    else:
        code.append(Instruction(_AND, 0, 0, 0xFFFF))
    return [*code, Instruction(_JEQ, 0, _FAIL, one.source_port or one.destination_port)]
