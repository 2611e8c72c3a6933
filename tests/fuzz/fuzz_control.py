"""Fuzz the reader of control requests and answers: ``python -m tests.fuzz.fuzz_control``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from tests.fuzz.harness import Target, main
from trireme_collector.control import (
    CommandTable,
    ControlCommand,
    DrainArguments,
    ErrorKind,
    NoArguments,
    Peer,
)
from trireme_collector.control._protocol import (
    MAX_REQUEST_BYTES,
    Failure,
    Request,
    read_answer,
    read_request,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEEDS = (
    b'{"version": 1, "command": "status", "arguments": {}}\n',
    b'{"command": "drain", "arguments": {"deadline_seconds": 2.5}}\n',
    b'{"command": "\\ud800\\u0000", "arguments": null}\n',
    b'{"version":1,"ok":false,"error":{"kind":"config","message":"m","problems":["p"]}}\n',
    b'{"arguments": [[[[[[{"a": [1e400, -0, "\xc3\x28"]}]]]]]], "command": "status"}\n',
    b'{"command": "status"',
)
_PEER = Peer(1, 2, 3)


class _Done(msgspec.Struct):
    done: str


def _commands() -> CommandTable:
    commands = CommandTable()
    commands.add(
        ControlCommand(
            name="status",
            summary="",
            arguments=NoArguments,
            result=_Done,
            handler=lambda _arguments, _peer: _Done("status"),
        )
    )
    commands.add(
        ControlCommand(
            name="drain",
            summary="",
            arguments=DrainArguments,
            result=_Done,
            handler=lambda arguments, _peer: _Done(f"{arguments.deadline_seconds:.0f}"),
        )
    )
    return commands


_COMMANDS = _commands()
_KINDS = {kind.value for kind in ErrorKind} - {ErrorKind.INTERNAL}


def run(data: bytes) -> Hashable:
    """Read the bytes as a request, do it, and read the answer; read the bytes as an answer, too."""
    request = read_request(data)
    early = read_request(data[: len(data) // 2])
    assert early is None or early == request
    if request is None:
        assert len(data) < MAX_REQUEST_BYTES
        return None
    if isinstance(request, Failure):
        assert request.kind == ErrorKind.BAD_REQUEST
        return "refused", _as_answer(data), early is None
    assert isinstance(request, Request)
    line = _COMMANDS.run(request, _PEER)
    assert isinstance(line, bytes)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    answer = read_answer(line)
    assert answer.ok == (answer.error is None)
    assert answer.error is None or answer.error.kind in _KINDS
    return answer.ok, answer.error and answer.error.kind, early is None


def _as_answer(data: bytes) -> bool:
    try:
        read_answer(data)
    except ValueError:
        return False
    return True


TARGET = Target(name="control", seeds=_SEEDS, run=run, max_bytes=20_000, max_seconds=0.005)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
