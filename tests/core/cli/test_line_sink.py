"""Lines that are there before anything is acknowledged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trireme_collector.cli._line_sink import LineSink
from trireme_collector.cli._output_file import OutputError


def write(path: Path, *lines: bytes, with_places: bool = False) -> None:
    sink = LineSink(str(path), with_places=with_places)
    sink.write(lines, [f"t/0/{index}" for index in range(len(lines))])
    assert sink.settle(0)
    assert sink.backlog == 0
    sink.close()


def test_a_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, b'{"a":1}')
    write(path)
    write(path, b'{"a":2}', with_places=True)
    assert path.read_bytes() == b'{"a":1}\n{"a":2,"_Place":"t/0/0"}\n'


@pytest.mark.parametrize("torn", [b"x", b"x" * 70_000, b'{"a":1'])
@pytest.mark.parametrize("before", [b"", b"whole\n"])
def test_half_a_line_is_removed(tmp_path: Path, before: bytes, torn: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(before + torn)
    write(path, b"{}")
    assert path.read_bytes() == before + b"{}\n"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        LineSink(str(tmp_path / "no" / "out"))
    if Path("/dev/full").exists():
        sink = LineSink("/dev/full")
        with pytest.raises(OutputError, match="cannot be written"):
            sink.write([b"{}"], ["p"])
        sink.close()


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    sink = LineSink("-")
    sink.write([b"{}"], ["p"])
    assert sink.settle(0)
    sink.close()
    assert capfd.readouterr().out == "{}\n"
    assert os.fstat(1)
