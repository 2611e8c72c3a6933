"""Opening captures: files, pipes, compression, and everything that is no capture."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import DatapathError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends.pcap import CaptureError, CaptureReader, TruncatedCaptureError

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
DATAGRAM = bytes.fromhex("4500001d000100004011 0000c0000201c0000202138800350009000041")
HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
RECORD = struct.pack("<IIII", 1, 2, len(DATAGRAM), len(DATAGRAM)) + DATAGRAM
CAPTURE = HEAD + RECORD * 3
SEEDS = [path.read_bytes() for path in sorted(CAPTURES.glob("*.*cap*"))]


def count(data: bytes) -> int:
    with CaptureReader(io.BytesIO(data), name="x") as reader:
        return sum(1 for _ in reader)


class Trickle(io.RawIOBase):
    """Gives one byte at a time, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        piece, self.data = self.data[:1], self.data[1:]
        return piece


class Failing(io.BytesIO):
    """A disk that fails behind the first packet."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= len(HEAD + RECORD):
            raise OSError(5, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("data", [CAPTURE, gzip.compress(CAPTURE)], ids=["plain", "gzip"])
def test_a_source_may_give_less_than_asked(data: bytes) -> None:
    with CaptureReader(cast("BinaryIO", Trickle(data))) as reader:
        assert sum(1 for _ in reader) == 3


def test_a_path_and_a_name_open_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(CAPTURE)
    for opened in (path, str(path)):
        with CaptureReader(opened) as reader:
            assert len(list(reader)) == 3
            assert reader.name == str(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(CAPTURE)

    monkeypatch.setattr(sys, "stdin", Stdin)
    with CaptureReader("-") as reader:
        assert len(list(reader)) == 3
        assert reader.name == "standard input"
    assert not Stdin.buffer.closed


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    both_ends = os.open(path, os.O_RDWR)  # a writer that is there already: nothing waits
    try:
        os.write(both_ends, CAPTURE)
        with CaptureReader(path) as reader:
            packets = iter(reader)
            # Given as they come: nobody closed the pipe.
            assert [next(packets).number for _ in range(3)] == [1, 2, 3]
    finally:
        os.close(both_ends)


def test_files_are_closed() -> None:
    file = io.BytesIO(CAPTURE)
    CaptureReader(file).close()
    assert file.closed
    file = io.BytesIO(b"nonsense")
    with pytest.raises(CaptureError):
        CaptureReader(file)
    assert file.closed


def test_an_error_is_a_datapath_error_for_the_input(tmp_path: Path) -> None:
    with pytest.raises(DatapathError) as caught:
        CaptureReader(tmp_path / "absent.pcap")
    assert isinstance(caught.value, CaptureError)
    assert caught.value.exit_code is ExitCode.INPUT
    assert "absent.pcap: at byte 0: cannot be opened (No such file or directory)" in str(
        caught.value
    )


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be opened"):
        CaptureReader(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"hello world", "no capture, it begins with 68 65 6c 6c"),
        (b"\xd4", "no capture, it begins with d4"),
        (b"\x34\xcd\xb2\xa1" + bytes(20), "modified pcap file"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed with zstd"),
        (b"snoop\0\0\0", "a snoop file"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(b"hello", mtime=0), "no capture, it begins with 68"),
        (
            gzip.compress(gzip.compress(CAPTURE, mtime=0), mtime=0),
            "no capture, it begins with 1f 8b",
        ),
    ],
)
def test_what_is_no_capture(data: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        CaptureReader(io.BytesIO(data), name="x")


def test_a_failing_disk_comes_after_what_was_read() -> None:
    with CaptureReader(Failing(CAPTURE), name="x") as reader:
        packets = iter(reader)
        next(packets)
        with pytest.raises(CaptureError, match=r"x: at byte 69: cannot be read \(Input/output"):
            next(packets)


def test_compressed_captures() -> None:
    assert count(gzip.compress(CAPTURE)) == 3
    assert count(gzip.compress(HEAD) + gzip.compress(RECORD) + gzip.compress(RECORD)) == 2


def test_every_cut_of_a_compressed_capture() -> None:
    data = gzip.compress(CAPTURE)
    for size in range(2, len(data)):
        with pytest.raises(TruncatedCaptureError):
            count(data[:size])


@given(position=st.integers(10, 60), value=st.integers(0, 255))
def test_damaged_compression(position: int, value: int) -> None:
    data = bytearray(gzip.compress(CAPTURE))
    data[min(position, len(data) - 1)] = value
    with contextlib.suppress(CaptureError):
        count(bytes(data))


@given(data=st.binary(max_size=300), magic=st.sampled_from([HEAD, HEAD[:4], b"\x0a\x0d\x0d\x0a"]))
def test_any_bytes_give_packets_or_one_kind_of_error(data: bytes, magic: bytes) -> None:
    with contextlib.suppress(CaptureError):
        count(magic + data)


@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_captures_give_packets_or_one_kind_of_error(
    seed: bytes, edits: list[tuple[int, int]]
) -> None:
    data = bytearray(seed)
    for position, value in edits:
        data[position % len(data)] = value
    with contextlib.suppress(CaptureError):
        count(bytes(data))


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.*cap*")), ids=lambda p: p.name)
def test_every_cut_of_a_stored_capture(path: Path) -> None:
    data = path.read_bytes()
    whole = count(data)
    assert whole
    for size in range(0, len(data), 3):
        with contextlib.suppress(CaptureError):
            assert count(data[:size]) <= whole
