"""Bytes as hexadecimal and text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor.dissection import dissect

_TEXT_AT = len("00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |")


def test_golden() -> None:
    data = bytes.fromhex("023345 6789ab0123 456789ab0800 4500 20007dc40000")
    assert dissect(data, verbose=False) == (
        "00000000  02 33 45 67 89 ab 01 23  45 67 89 ab 08 00 45 00  |.3Eg...#Eg....E.|\n"
        "00000010  20 00 7d c4 00 00                                 | .}...|\n"
    )
    assert dissect(b"", verbose=False) == ""
    assert dissect(b"~\x7f |\xff", verbose=False) == (
        "00000000  7e 7f 20 7c ff                                    |~. |.|\n"
    )


@given(st.binary(max_size=300))
def test_it_can_be_read_back(data: bytes) -> None:
    read, shown = b"", ""
    for number, line in enumerate(dissect(data, verbose=False).splitlines()):
        assert int(line[:8], 16) == number * 16
        read += bytes.fromhex(line[8 : _TEXT_AT - 1])
        assert line[_TEXT_AT - 1] == line[-1] == "|"
        shown += line[_TEXT_AT:-1]
    assert read == data
    assert shown == "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in data)
