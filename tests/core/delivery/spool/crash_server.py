"""Lives of a spool that end badly, one forked process each: orders in, exit codes out, as JSON.

Started once as a program; forking is cheap, and safe without threads. A life appends records
and delivers them, and writes down both in journals: what was accepted after `Spool.append`
returned, what was delivered before `SpoolReader.acknowledge` was called.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path

import msgspec

from tests.core.delivery.spool.faulty_storage import FaultyStorage
from tests.core.delivery.spool.spools import check, number, records
from trireme_collector.delivery import WhenFull
from trireme_collector.delivery.spool import FsyncMode, Spool, SpoolConfig
from trireme_collector.delivery.spool.crash_points import ENVIRONMENT_VARIABLE

BATCH = 10
_LONGEST_LIFE_SECONDS = 30
_LONGEST_LINE = 32
_SECOND = 1_000_000_000


class Order(msgspec.Struct, kw_only=True):
    """How to live, and how to die."""

    directory: str
    first: int
    kind: str = "short"
    point: str = ""
    kill_after_seconds: float = 0.0
    mode: FsyncMode = FsyncMode.INTERVAL


def config(order: Order) -> SpoolConfig:
    small = order.kind == "full"
    return SpoolConfig(
        max_bytes=16_384 if small else 1 << 24,
        segment_bytes=4096,
        fsync=order.mode,
        when_full=WhenFull.DROP_OLDEST if small else WhenFull.DROP_NEWEST,
    )


class Journal:
    """Numbers that outlive the process.

    A kill may cut a write at the end of a page, in the middle of a number: the next life takes
    that number away, or its own first one would be joined to it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        end = os.fstat(self._descriptor).st_size
        begin = max(0, end - _LONGEST_LINE)
        tail = os.pread(self._descriptor, end - begin, begin)
        os.ftruncate(self._descriptor, begin + tail.rfind(b"\n") + 1)

    def note(self, numbers: list[int]) -> None:
        os.write(self._descriptor, ("".join(f"{n}\n" for n in numbers)).encode())


def live(order: Order) -> None:
    """Append, deliver, tick, close; a long life does so until it is killed."""
    directory = Path(order.directory)
    accepted, delivered = Journal(directory / "accepted"), Journal(directory / "delivered")
    storage = FaultyStorage()
    spool = Spool.open(directory / "spool", config(order), storage=storage)
    reader = spool.reader("a")
    rounds = {"short": 16, "full": 40, "long": 1_000_000}[order.kind]
    first = order.first
    for turn in range(rounds):
        if turn == 5 and order.kind == "short":
            storage.faults.begin(errno.EIO, kinds=("sync",))
        numbers = list(range(first, first + BATCH))
        first += BATCH
        if spool.append(records(numbers), turn * 2 * _SECOND).count:
            accepted.note(numbers)
        # The full spool is one whose receiver is away for a while.
        if order.kind != "full" or turn > 36:
            batch = reader.read(BATCH)
            if batch.payloads:
                delivered.note(list(map(number, batch.payloads)))
                reader.acknowledge(batch.sequences[-1])
        spool.tick(turn * 2 * _SECOND)
        check(reader.account)
    spool.close()


def serve(order: Order) -> int:
    """Fork one life and wait for its end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(_LONGEST_LIFE_SECONDS)
            os.environ[ENVIRONMENT_VARIABLE] = order.point
            live(order)
            code = 0
        except Exception:  # noqa: BLE001  a forked child shows what went wrong, and ends here
            traceback.print_exc()
        finally:
            os._exit(code)
    if order.kill_after_seconds:
        select.select([], [], [], order.kill_after_seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Obey until there are no more orders."""
    for line in sys.stdin:
        code = serve(msgspec.json.decode(line, type=Order))
        print(json.dumps(code), flush=True)  # noqa: T201  the answer to the order


if __name__ == "__main__":
    main()
