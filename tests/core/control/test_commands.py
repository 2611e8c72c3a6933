"""A command is found, its arguments are checked, and whatever it raises becomes an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trireme_collector.control import CommandTable, ControlCommand, Later, NoArguments, Peer
from trireme_collector.control._protocol import Request
from trireme_collector.errors import ConfigError, DatapathError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = Peer(pid=1, uid=2, gid=3)


class Number(msgspec.Struct, forbid_unknown_fields=True):
    """An argument and a result."""

    value: int


def table(handler: Callable[[Number, Peer], Number | Later[Number]]) -> CommandTable:
    commands = CommandTable()
    commands.add(
        ControlCommand(
            name="double", summary="Twice.", arguments=Number, result=Number, handler=handler
        )
    )
    return commands


def run(commands: CommandTable, command: str, arguments: bytes) -> dict[str, Any]:
    answer = commands.run(Request(command=command, arguments=msgspec.Raw(arguments)), PEER)
    assert isinstance(answer, bytes)
    found: dict[str, Any] = json.loads(answer)
    return found


def test_a_command_gets_its_arguments_and_who_asks() -> None:
    seen: list[Peer] = []

    def double(number: Number, peer: Peer) -> Number:
        seen.append(peer)
        return Number(number.value * 2)

    commands = table(double)
    assert run(commands, "double", b'{"value": 4}')["result"] == {"value": 8}
    assert seen == [PEER]
    assert commands.names() == ["double"]


@pytest.mark.parametrize(
    "arguments",
    [b"{}", b"[]", b"null", b'{"value":"4"}', b'{"value":4,"x":1}', b'{"value":"\xff"}', b"["],
)
def test_other_arguments_are_refused(arguments: bytes) -> None:
    error = run(table(lambda number, _: number), "double", arguments)["error"]
    assert error["kind"] == "bad_arguments"
    assert error["message"].startswith("double: ")


def test_an_unknown_command_is_answered_with_those_that_there_are() -> None:
    error = run(table(lambda number, _: number), "trace", b"{}")["error"]
    assert error == {
        "kind": "unknown_command",
        "message": "there is no command 'trace'; this agent has: double",
    }
    assert run(CommandTable(), "x", b"{}")["error"]["message"].endswith("has: none")


@pytest.mark.parametrize(
    ("raised", "kind", "problems"),
    [
        (ConfigError("a\nb", problems=("a", "b")), "config", ["a", "b"]),
        (PluginError("p"), "config", []),
        (DatapathError("d"), "failed", []),
        (ZeroDivisionError("z"), "internal", []),
    ],
)
def test_what_is_raised_is_told(raised: Exception, kind: str, problems: list[str]) -> None:
    def fail(_number: Number, _peer: Peer) -> Number:
        raise raised

    error = run(table(fail), "double", b'{"value": 4}')["error"]
    assert error["kind"] == kind
    assert str(raised) in error["message"]
    assert error.get("problems", []) == problems


def test_names_are_unique() -> None:
    commands = table(lambda number, _: number)
    with pytest.raises(ValueError, match="'double' already"):
        commands.add(
            ControlCommand(
                name="double",
                summary="",
                arguments=NoArguments,
                result=Number,
                handler=lambda _arguments, _peer: Number(1),
            )
        )
