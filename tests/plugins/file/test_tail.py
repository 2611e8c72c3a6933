"""Whatever a crash left behind the last line end, the next start finds whole lines only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import render_json_line
from trireme_collector.testing.strategies import records
from trireme_collector_file import FileCollector, FileOptions
from trireme_collector_file._disk import SystemDisk
from trireme_collector_file._tail import find_tail

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from trireme_collector import Record


def opened(path: Path) -> bytes:
    collector = FileCollector(FileOptions(path=str(path)))
    collector.open()
    collector.close()
    return path.read_bytes()


@given(
    whole=st.lists(records(), max_size=3), last=records(), cut=st.floats(0, 1), zeros=st.booleans()
)
def test_a_line_that_was_cut_anywhere_goes(
    tmp_path_factory: pytest.TempPathFactory,
    whole: list[Record],
    last: Record,
    cut: float,
    zeros: bool,
) -> None:
    path = tmp_path_factory.mktemp("tail") / "f"
    before = b"".join(map(render_json_line, whole))
    line = render_json_line(last)
    torn = line[: round((len(line) - 2) * cut)] + b"\0" * (700 * zeros)
    path.write_bytes(before + torn)
    assert opened(path) == before
    # All but its line end: that is a record.
    path.write_bytes(before + line[:-1])
    assert opened(path) == before + line


@given(
    content=st.binary(max_size=200)
    | st.lists(st.sampled_from([b"\n", b"{", b'{"type":', b"\0", b'"}', b"x"])).map(b"".join)
)
def test_any_file_ends_with_a_line_end_and_keeps_its_lines(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("tail") / "f"
    path.write_bytes(content)
    after = opened(path)
    assert not after or after.endswith(b"\n")
    lines = content.rpartition(b"\n")
    assert after.startswith(b"".join(lines[:2]))
    assert after in {b"".join(lines[:2]), content, content + b"\n"}
    assert opened(path) == after


def test_a_file_without_any_line_end_is_no_burden(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b'{"type":')
        file.truncate(1 << 34)
        begin = time.process_time()
        with path.open("rb") as reader:
            tail = find_tail(SystemDisk(), reader.fileno(), 1 << 34)
    assert time.process_time() - begin < 2
    # It may be anything: it is not touched.
    assert not tail.is_torn
    assert tail.size == 1 << 24
