"""Writing beside the capture: order, room, failures, the end."""

from __future__ import annotations

import errno
import threading

from trireme_datapath.recorder._background_writer import BackgroundWriter, Piece


def piece(number: int, size: int = 10) -> Piece:
    return Piece([bytes([number])], 1, size, number)


def test_pieces_are_written_in_order_and_counted() -> None:
    seen: list[int] = []
    writer = BackgroundWriter(lambda one: seen.append(one.now_ns))
    for number in range(100):
        writer.put(piece(number))
    written = writer.take(wait=True)
    assert seen == list(range(100))
    assert (written.packets, written.size, written.error) == (100, 1000, None)
    assert writer.take().packets == 0
    writer.close()


def test_nobody_waits_for_the_disk_until_there_is_no_room() -> None:
    go_on, full = threading.Event(), threading.Event()

    def write(_piece: Piece) -> None:
        go_on.wait(10)

    writer = BackgroundWriter(write, max_bytes=35)
    for number in range(4):
        writer.put(piece(number))
    assert writer.take().packets == 0

    def put_more() -> None:
        writer.put(piece(4))
        full.set()

    thread = threading.Thread(target=put_more)
    thread.start()
    assert not full.wait(0.05)
    go_on.set()
    assert full.wait(10)
    thread.join()
    assert writer.take(wait=True).packets == 5
    writer.close()


def test_after_a_failure_everything_is_lost_and_said() -> None:
    def write(one: Piece) -> None:
        if one.now_ns == 2:
            raise OSError(errno.ENOSPC, "full")

    writer = BackgroundWriter(write)
    for number in range(5):
        writer.put(piece(number))
    written = writer.take(wait=True)
    assert (written.packets, written.lost_packets, written.lost_bytes) == (2, 3, 30)
    assert written.error is not None
    assert written.error.errno == errno.ENOSPC
    writer.close()


def test_a_mistake_in_the_function_does_not_hang_anybody() -> None:
    writer = BackgroundWriter(lambda one: one.data[5])  # type: ignore[arg-type]
    writer.put(piece(0))
    written = writer.take(wait=True)
    assert written.lost_packets == 1
    assert "out of range" in str(written.error)
    writer.close()


def test_closing_writes_what_waits() -> None:
    seen: list[int] = []
    writer = BackgroundWriter(lambda one: seen.append(one.now_ns))
    for number in range(10):
        writer.put(piece(number))
    writer.close()
    assert seen == list(range(10))
    writer.close()
