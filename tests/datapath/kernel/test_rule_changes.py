"""Changes of tables are heard, those of other tables and nonsense are not."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.kernel.rule_changes import RuleChanges, touches

TABLES = frozenset({b"filter", b"security"})
NEW_TABLE, NEW_CHAIN, DELETE_RULE, NEW_SET, NEW_GENERATION = 0, 3, 8, 9, 15
KERNEL, STRANGER = (0, 0), (4_711, 0)


def message(kind: int, family: int, table: bytes = b"filter\0", *, subsystem: int = 10) -> bytes:
    attribute = struct.pack("=HH", 4 + len(table), 1) + table
    attribute += bytes(-len(attribute) % 4)
    body = struct.pack("=BBH", family, 0, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | kind, 0, 0, 0) + body


@pytest.mark.parametrize("kind", [NEW_TABLE, NEW_CHAIN, DELETE_RULE])
@pytest.mark.parametrize("family", [2, 10])
def test_our_tables_are_told_from_others(kind: int, family: int) -> None:
    other = message(kind, family, b"nat\0")
    assert not touches(other, TABLES)
    assert touches(other + message(kind, family), TABLES)
    assert touches(message(kind, family, b"security\0") + other, TABLES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(DELETE_RULE, 1),
        message(DELETE_RULE, 7),
        message(NEW_SET, 2),
        message(NEW_GENERATION, 0),
        message(DELETE_RULE, 2, subsystem=1),
        message(DELETE_RULE, 2)[:19],
        message(DELETE_RULE, 2)[:22],
        bytes(64),
    ],
)
def test_all_else_is_passed_over(data: bytes) -> None:
    assert not touches(data, TABLES)


@given(st.binary(max_size=200))
def test_nothing_makes_it_raise_or_hang(data: bytes) -> None:
    assert touches(data, TABLES) in {False, True}
    assert touches(message(NEW_SET, 2) + data, TABLES) in {False, True}


class Socket:
    """What waits in a socket."""

    def __init__(self, *waiting: tuple[bytes, tuple[int, int]] | OSError) -> None:
        self.waiting = list(waiting)
        self.closed = False

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        assert size >= 32_768
        if not self.waiting:
            raise BlockingIOError
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def fileno(self) -> int:
        return 3

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("waiting", "heard"),
    [
        ([], False),
        ([(message(DELETE_RULE, 2), KERNEL)], True),
        ([(message(DELETE_RULE, 2), STRANGER)], False),
        ([(message(DELETE_RULE, 2, b"nat\0"), KERNEL), (message(NEW_CHAIN, 10), KERNEL)], True),
        ([OSError(errno.ENOBUFS, "more than fits")], True),
    ],
)
def test_what_was_told_is_taken_whole(
    waiting: list[tuple[bytes, tuple[int, int]] | OSError], *, heard: bool
) -> None:
    listener = Socket(*waiting)
    changes = RuleChanges(listener, TABLES)  # type: ignore[arg-type]  # it has what is used
    assert changes.heard() is heard
    assert listener.waiting == []
    assert not changes.heard()
    assert changes.fileno() == 3
    changes.close()
    assert listener.closed
