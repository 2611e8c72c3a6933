"""Which connections had ended before a moment, by how long the kernel keeps them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.datapath.kernel.conntrack.golden import golden, little
from tests.datapath.test_accounting import CLIENT, SERVER, row
from trireme_datapath.kernel.conntrack import (
    Connection,
    Listing,
    RowReader,
    messages,
    parse_connection,
)
from trireme_datapath.kernel.conntrack._ended_before import EndedBefore
from trireme_datapath.kernel.conntrack._requests import hold_request
from trireme_datapath.testing import SECOND_NS, START_NS

if TYPE_CHECKING:
    from pathlib import Path

    from trireme_datapath.kernel.conntrack import ConnectionRow

TIME_WAIT, CLOSE = 7, 8


class Part:
    """A part of a list."""

    def __init__(self, *entries: tuple[ConnectionRow, int]) -> None:
        self.rows = [one for one, _ in entries]
        self._left = [left for _, left in entries]

    def seconds_left(self, index: int) -> int:
        return self._left[index]


def entry(state: int, left: int, protocol: int = 6) -> tuple[ConnectionRow, int]:
    return row(CLIENT, SERVER, (6, 420, 4, 516), protocol=protocol, tcp_state=state), left


@pytest.mark.parametrize(
    ("state", "left", "before"),
    [
        (TIME_WAIT, 119, False),  # it ended a second ago, or a moment ago
        (TIME_WAIT, 110, False),
        (TIME_WAIT, 109, True),  # 10 seconds ago at least
        (TIME_WAIT, 0, True),
        (CLOSE, 9, False),
        (CLOSE, 0, False),
        (3, 0, False),
    ],
)
def test_the_time_that_is_left_tells(
    tmp_path: Path, state: int, left: int, *, before: bool
) -> None:
    found = EndedBefore(START_NS, tmp_path)
    now_ns = START_NS + 10 * SECOND_NS
    assert found.among(Part(entry(3, 0), entry(state, left)), now_ns) == ({1} if before else set())


def test_the_settings_of_the_kernel_count(tmp_path: Path) -> None:
    (tmp_path / "nf_conntrack_tcp_timeout_time_wait").write_text("30\n", encoding="ascii")
    (tmp_path / "nf_conntrack_tcp_timeout_close").write_text("what\n", encoding="ascii")
    found = EndedBefore(START_NS, tmp_path)
    now_ns = START_NS + 5 * SECOND_NS
    assert found.among(Part(entry(TIME_WAIT, 24), entry(TIME_WAIT, 25)), now_ns) == {0}
    assert found.among(Part(entry(CLOSE, 4), entry(CLOSE, 5)), now_ns) == {0}


def test_only_tcp_has_an_end(tmp_path: Path) -> None:
    assert not EndedBefore(START_NS, tmp_path).among(Part(entry(7, 0, 17)), START_NS)


@little
def test_the_kernel_says_how_long_it_keeps_a_connection() -> None:
    connection = parse_connection(golden()["ended tcp"])
    assert isinstance(connection, Connection)
    text = golden()["list both"] + hold_request(connection, 1, 0)
    listing, places = Listing(), list[int]()
    rows = RowReader(0x100).read(text, list(messages(text)), places)
    listing.add(text, rows, places)
    said = [listing.connection(index).timeout_seconds for index in range(len(rows))]
    assert [listing.seconds_left(index) for index in range(len(rows))] == said == [0, 0, 120]
