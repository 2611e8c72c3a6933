"""One run of `bench.netobserv` in a process of its own, so that its memory can be told."""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.netobserv import LineTracker, Tracker, default_tracking_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEGIN_MS = 1_700_000_000_000
SPAN_MS = 70_000
READ_BYTES = 262_144


def batches(path: str) -> Iterator[list[bytes]]:
    """Read lines as `trireme-collector conversations` does."""
    rest = b""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  without a buffer of its own
        while chunk := file.read(READ_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield lines


def main(path: str, name: str, count: int) -> None:
    """Print the processor time and the largest resident memory in MiB."""
    take = plain() if name == "plain" else tracked(name, count)
    begin = time.process_time()
    with open(os.devnull, "wb") as out:  # noqa: PTH123  a device
        for lines in batches(path):
            given = take(lines)
            if given:
                out.write(b"\n".join(given) + b"\n")
    seconds = time.process_time() - begin
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def plain() -> Callable[[list[bytes]], list[bytes]]:
    """Decode every line and write it again."""
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    return lambda lines: [encode(decode(line)) for line in lines]


def tracked(types: str, count: int) -> Callable[[list[bytes]], list[bytes]]:
    """Follow the conversations, the time spread evenly over the lines."""
    config = default_tracking_config() | {"outputRecordTypes": types.split(",")}
    tracker = LineTracker(Tracker.from_config(config))
    done = 0

    def take(lines: list[bytes]) -> list[bytes]:
        nonlocal done
        done += len(lines)
        return tracker.process(lines, BEGIN_MS + done * SPAN_MS // count)

    return take


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
