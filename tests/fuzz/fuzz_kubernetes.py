"""Fuzz answers of a cluster's API: ``python -m tests.fuzz.fuzz_kubernetes --seconds 60``."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from tests.plugins.kubernetes.api_server import recorded, recorded_changes
from trireme_collector_kubernetes import _watcher
from trireme_collector_kubernetes._watcher import ApiError, Watcher

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from trireme_collector_kubernetes._objects import Kind

__all__ = ["TARGET"]

_KINDS: tuple[Kind, ...] = ("pods", "services", "nodes")
_SEEDS = tuple(
    b"\n".join(
        [
            str(number).encode(),
            json.dumps(
                recorded(f"{kind} page 1") | {"metadata": {"resourceVersion": "1"}}
            ).encode(),
            *(json.dumps(change).encode() for change in recorded_changes(f"{kind} watch")),
        ]
    )
    for number, kind in enumerate(_KINDS)
)


class _Answer:
    """A list, or the lines of a watch."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def read(self) -> bytes:
        return b"".join(self._pieces)

    def pieces(self) -> Iterator[bytes]:
        yield from self._pieces

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class _Api:
    """Gives the first line as a list, once, and the others as changes."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.asked = 0

    def ask(self, kind: Kind, parameters: Mapping[str, object]) -> _Answer:
        del kind
        self.asked += 1
        if self.asked > 2:
            raise ApiError("asked too often")
        if "watch" in parameters:
            return _Answer([line + b"\n" for line in self._lines[1:]])
        return _Answer(self._lines[:1])


def run(data: bytes) -> Hashable:
    """List, watch, and look at what is known then."""
    first, *lines = data.split(b"\n")
    kind = _KINDS[first[0] % 3 if first else 0]
    stop = threading.Event()
    _watcher._BACK_OFF_SECONDS = (0.0, 0.0)
    watcher = Watcher(
        kind, _Api(lines or [b""]), max_objects=20, warn=lambda *_: stop.set(), stop=stop
    )
    watcher.run()
    if len(watcher._known) > 20:
        raise AssertionError("more is kept than may be")
    known = {id(found) for found, _ in watcher._known.values()}
    for address, found in watcher.by_address.items():
        if id(found) not in known:
            raise AssertionError(f"{address} leads to something that is gone")
    return watcher.lists, len(watcher.by_address), len(watcher.by_name), watcher.passed_over > 0


TARGET = Target(name="kubernetes", seeds=_SEEDS, run=run, max_bytes=65_536, max_seconds=1.0)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
