"""Fuzz how connections are read: ``python -m tests.fuzz.fuzz_conntrack --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.conntrack import (
    DELETE_MESSAGE,
    NEW_MESSAGE,
    Connection,
    RowReader,
    delete_request,
    messages,
    parse_connection,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]


def _seeds() -> tuple[bytes, ...]:
    path = Path(__file__).parents[1] / "data" / "conntrack_messages.toml"
    with path.open("rb") as file:
        return tuple(bytes.fromhex(one["hex"]) for one in tomllib.load(file)["message"])


_SEEDS = _seeds()
_READERS = {kind: RowReader(kind) for kind in (DELETE_MESSAGE, NEW_MESSAGE)}
for _reader in _READERS.values():
    for _seed in _SEEDS:
        _reader.read(_seed, [(0, len(_seed))])


def run(data: bytes) -> Hashable:
    """Read a message both ways; ask for its end."""
    try:
        count = len(list(messages(data)))
    except MessageError:
        count = -1
    rows = [reader.read(data, [(0, len(data))]) for reader in _READERS.values()]
    try:
        found = parse_connection(data)
    except MessageError as error:
        assert rows == [[], []]
        return count, str(error)[:20]
    if not isinstance(found, Connection):
        return count, found.done
    assert sorted(map(len, rows)) == [0, 1]
    assert max(rows, key=len) == [row_of(found)]
    size = len(delete_request(found, 1))
    return found.kind, found.original.protocol, found.tcp_state, found.sent is None, size


TARGET = Target(name="conntrack", seeds=_SEEDS, run=run, max_bytes=2_000, max_seconds=0.005)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
