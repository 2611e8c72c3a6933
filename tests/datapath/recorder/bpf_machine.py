"""A machine for classic packet filters, as slow and plain as the kernel's manual describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_datapath.recorder._bpf import Instruction

MASK = 0xFFFFFFFF
EXTRA = 0xFFFFF000
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}


class TooShortError(Exception):
    """A load beyond the end of the packet."""


def load(packet: bytes, at: int, size: int, known: dict[int, int]) -> int:
    if at >= EXTRA:
        return known[at - EXTRA]
    if at + size > len(packet):
        raise TooShortError
    return int.from_bytes(packet[at : at + size], "big")


def run(  # noqa: C901, PLR0912  one branch for each instruction
    program: Iterable[Instruction],
    packet: bytes,
    *,
    protocol: int = 0,
    outgoing: bool = False,
    hardware: int = 1,
) -> int:
    """Give how many bytes of a packet a program wants; it ends, or the program is wrong."""
    code = list(program)
    known = {0: protocol, 4: 4 if outgoing else 0, 28: hardware}
    a = x = at = 0
    memory = [0] * 16
    try:
        while True:
            op, if_true, if_false, k = code[at]
            at += 1
            if op & 7 == 0:  # LD
                mode = op & 0xE0
                if mode == 0x60:
                    a = memory[k]
                elif mode in {0x20, 0x40}:
                    a = load(packet, k + (x if mode == 0x40 else 0), SIZES[op & 0x18], known)
                else:
                    raise AssertionError(f"load {op:#x}")
            elif op == 0x01:
                x = k
            elif op == 0x61:
                x = memory[k]
            elif op == 0x02:
                memory[k] = a
            elif op == 0x03:
                memory[k] = x
            elif op == 0x54:
                a &= k
            elif op == 0x64:
                a = a << k & MASK
            elif op == 0x74:
                a >>= k
            elif op == 0x0C:
                a = a + x & MASK
            elif op == 0x07:
                x = a
            elif op == 0x05:
                at += k
            elif op in {0x15, 0x45}:
                true = a == k if op == 0x15 else bool(a & k)
                at += if_true if true else if_false
            elif op == 0x06:
                return k
            else:
                raise AssertionError(f"instruction {op:#x}")
    except TooShortError:
        return 0
