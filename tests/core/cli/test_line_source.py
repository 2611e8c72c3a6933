"""Lines are read a batch at a time, whatever stands in the files."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from trireme_collector.cli import _line_source
from trireme_collector.cli._line_source import InputError, LineSource
from trireme_collector.cli._output_file import lines_written_to
from trireme_collector.cli._progress import Progress

if TYPE_CHECKING:
    from pathlib import Path


def read(*paths: Path, limit: int = 100) -> tuple[list[bytes], LineSource]:
    source = LineSource([str(path) for path in paths], max_line_bytes=limit)
    return [line for batch in source.batches() for line in batch], source


def test_files_one_after_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"a\nb\n")
    other.write_bytes(b"c\n\nd")
    lines, source = read(one, other)
    assert [line for line in lines if line] == [b"a", b"b", b"c", b"d"]
    assert source.bytes_read == source.total_bytes == 8


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_line_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(_line_source, "_READ_BYTES", size)
    path = tmp_path / "x"
    path.write_bytes(b"a\n" + b"x" * 50 + b"\nb\n" + b"y" * 60)
    lines, source = read(path, limit=10)
    # What came in one piece is left to whoever decodes it.
    assert [line for line in lines if line and len(line) <= 10] == [b"a", b"b"]
    if size < 50:
        assert max(map(len, lines)) <= 10 + size
        assert source.too_long == 2


def test_a_pipe_is_waited_for() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"a\nb")
        source = LineSource([f"/dev/fd/{reader}"], max_line_bytes=100)
        assert source.total_bytes is None
        batches = source.batches(wait_seconds=0)
        assert next(batches) == [b"a"]
        assert next(batches) == []
        os.close(writer)
        writer = -1
        # The path opened the pipe anew; its end is seen once the writer is gone.
        assert [batch for batch in batches if batch] == [[b"b"]]
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        read(tmp_path)


class Terminal:
    """Keeps what is written to it."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.written: list[str] = []
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)

    def flush(self) -> None:
        pass


class Standard:
    """A standard output that keeps its bytes."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.buffer = io.BytesIO()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        pass


def test_nobody_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{"SrcAddr":"\u009b31m"}'.encode()
    for is_terminal, expected in ((True, b'{"SrcAddr":"\\u009b31m"}\n'), (False, line + b"\n")):
        standard = Standard(is_terminal=is_terminal)
        monkeypatch.setattr(sys, "stdout", standard)
        with lines_written_to("-") as write:
            write([line])
        assert standard.buffer.getvalue() == expected


def test_progress_is_for_people() -> None:
    clock = iter([0.0, 0.1, 2.0, 3.0])
    terminal = Terminal(is_terminal=True)
    with Progress("records", 2**21, stream=terminal, clock=lambda: next(clock)) as progress:  # type: ignore[arg-type]  # as much of a stream as is needed
        progress.show(1, 2**20)
        progress.show(2000, 2**20)
        progress.show(3000, 2**21)
    assert terminal.written[0].strip() == "50 %  1 MiB  2,000 records  1,000/s"
    assert terminal.written[-1].isspace()
    silent = Terminal(is_terminal=False)
    with Progress("records", None, stream=silent) as progress:  # type: ignore[arg-type]  # as above
        progress.show(1, 1)
    assert silent.written == []
