"""The list of connections is read in a thread, as far as somebody wants it."""

from __future__ import annotations

import errno
import select
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.kernel.conntrack import ConnectionTable
from trireme_datapath.kernel.conntrack._list_reader import ListReader, NotAskedError

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 10.0


class Kernel:
    """The other end of a reader's socket."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.there.settimeout(PATIENCE_SECONDS)
        self.reader = ListReader(self.here)

    def wait(self) -> None:
        assert select.select([self.reader], [], [], PATIENCE_SECONDS)[0], "nothing came"

    def take(self, count: int, most: int = 2) -> list[bytes | OSError]:
        found: list[bytes | OSError] = []
        while len(found) < count:
            self.wait()
            parts = self.reader.take(most)
            assert len(parts) <= most
            found += parts
        return found

    def close(self) -> None:
        self.reader.close()
        self.here.close()
        self.there.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


def _threads() -> int:
    return sum(one.name == "trireme-list" for one in threading.enumerate())


def test_a_request_is_sent_and_what_comes_is_given_in_order(kernel: Kernel) -> None:
    assert _threads() == 0, "whoever opens it may give capabilities away before the first list"
    assert kernel.reader.take(2) == []
    kernel.reader.ask(b"list")
    assert kernel.there.recv(100) == b"list"
    parts: list[bytes | OSError] = [b"part %d" % number for number in range(50)]
    sender = threading.Thread(target=lambda: [kernel.there.send(bytes(one)) for one in parts])  # type: ignore[arg-type]
    sender.start()
    assert kernel.take(50) == parts
    sender.join(PATIENCE_SECONDS)
    kernel.reader.take(2)  # the last may have been taken before it was told
    assert not select.select([kernel.reader], [], [], 0)[0]
    kernel.reader.ask(b"again")
    assert kernel.there.recv(100) == b"again"
    assert _threads() == 1


def test_no_more_is_read_than_is_wanted(kernel: Kernel) -> None:
    kernel.reader.ask(b"list")
    kernel.there.recv(100)
    for number in range(20):
        kernel.there.send(b"part %d" % number)
    kernel.wait()
    first = kernel.take(1, most=1)
    assert first == [b"part 0"]
    left = kernel.here.dup()
    with left:
        assert left.recv(100, socket.MSG_PEEK).startswith(b"part"), "the rest waits in the socket"
    assert kernel.take(19) == [b"part %d" % number for number in range(1, 20)]


def test_a_request_that_cannot_be_sent_is_told() -> None:
    kernel = Kernel()
    kernel.here.shutdown(socket.SHUT_WR)
    kernel.reader.ask(b"list")
    (error,) = kernel.take(1)
    assert isinstance(error, NotAskedError)
    assert error.errno == errno.EPIPE
    kernel.close()
    assert _threads() == 0


def test_a_socket_that_came_to_its_end_is_told() -> None:
    kernel = Kernel()
    kernel.reader.ask(b"list")
    kernel.there.recv(100)
    kernel.there.close()
    (error,) = kernel.take(1)
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOTCONN
    kernel.close()
    kernel.reader.close()
    assert _threads() == 0


def test_it_ends_while_nobody_wants_what_it_has() -> None:
    kernel = Kernel()
    kernel.reader.ask(b"list")
    kernel.there.recv(100)
    for number in range(20):
        kernel.there.send(b"part %d" % number)
    kernel.wait()
    kernel.close()
    assert _threads() == 0


def test_a_table_says_that_its_list_cannot_be_asked_for() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here.shutdown(socket.SHUT_WR)
    table = ConnectionTable(here)
    table.begin_list()
    assert select.select([table], [], [], PATIENCE_SECONDS)[0]
    with pytest.raises(OSError, match="Broken pipe"):
        table.read()
    assert not table.listing
    assert not select.select([table], [], [], 0)[0]
    table.close()
    there.close()
