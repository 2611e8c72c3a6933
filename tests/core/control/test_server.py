"""The server answers who asks, and nobody can hold it up."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trireme_collector.control import (
    CommandTable,
    ControlClient,
    ControlCommand,
    ControlConfig,
    ControlLimits,
    ControlServer,
    Later,
    Peer,
)
from trireme_collector.errors import ConfigError
from trireme_collector.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """An argument and a result."""

    text: str = ""


class Site:
    """A server without a thread, and clients that take turns with it."""

    def __init__(self, path: Path, limits: ControlLimits | None = None) -> None:
        self.clock = FakeClock()
        self.path = path
        self.peers: list[Peer] = []
        self.futures: list[Future[Text]] = []
        self.otherwise: Text | None = None
        commands = CommandTable()
        for name, handler in (("echo", self._echo), ("wait", self._wait)):
            commands.add(
                ControlCommand(name=name, summary="", arguments=Text, result=Text, handler=handler)
            )
        self.server = ControlServer(
            ControlConfig(path=str(path)),
            commands,
            limits=limits,
            clock=self.clock.monotonic_ns,
        )
        self.server.open()
        self.clients: list[socket.socket] = []

    def _echo(self, arguments: Text, peer: Peer) -> Text:
        self.peers.append(peer)
        return arguments

    def _wait(self, _arguments: Text, _peer: Peer) -> Later[Text]:
        future: Future[Text] = Future()
        self.futures.append(future)
        otherwise = self.otherwise
        return Later(
            future,
            lambda text: Text(text.text.upper()),
            patience_seconds=2,
            otherwise=None if otherwise is None else lambda: otherwise,
        )

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        client.setblocking(False)
        self.clients.append(client)
        client.sendall(data)
        return client

    def ask(self, command: str, text: str = "") -> socket.socket:
        request = {"command": command, "arguments": {"text": text}}
        client = self.connect(json.dumps(request).encode() + b"\n")
        self.turn()
        return client

    def turn(self, count: int = 4) -> None:
        for _ in range(count):
            self.server.step(0)

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.close()


def read(client: socket.socket) -> bytes | None:
    """Give what has come; None while the connection is open and silent, b"" when it ended."""
    found = b""
    while True:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return found or None
        except ConnectionResetError:
            return found
        if not data:
            return found
        found += data


def answer(client: socket.socket) -> dict[str, Any]:
    data = read(client)
    assert data is not None
    assert data.endswith(b"\n")
    found: dict[str, Any] = json.loads(data)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "c")
    yield made
    made.close()


def test_a_question_is_answered_and_the_kernel_says_who_asked(site: Site) -> None:
    assert answer(site.ask("echo", "hé")) == {
        "version": 1,
        "ok": True,
        "result": {"text": "hé"},
    }
    assert site.peers == [Peer(os.getpid(), os.getuid(), os.getgid())]


def test_a_request_may_come_in_pieces(site: Site) -> None:
    client = site.connect()
    for piece in (b'{"comm', b'and":"ec', b'ho"}'):
        client.sendall(piece)
        site.turn()
        assert read(client) is None
    client.sendall(b"\n more")
    site.turn()
    assert answer(client)["ok"]


def test_garbage_is_answered_and_ends(site: Site) -> None:
    client = site.connect(b"\x00\xff\n")
    site.turn()
    assert answer(client)["error"]["kind"] == "bad_request"
    assert read(client) == b""


def test_a_request_without_end_is_refused(site: Site) -> None:
    client = site.connect(b"x" * 20_000)
    site.turn(10)
    assert answer(client)["error"]["message"] == "the request is longer than 16384 bytes"


def test_who_says_nothing_is_cut_off_in_time(site: Site) -> None:
    silent = site.connect()
    site.turn()
    site.later(4.9)
    assert read(silent) is None
    site.later(0.1)
    assert read(silent) == b""


def test_who_drips_is_cut_off(site: Site) -> None:
    client = site.connect()
    for _ in range(34):
        client.sendall(b" ")
        site.turn(1)
    assert read(client) == b""


def test_who_leaves_is_forgotten(site: Site) -> None:
    site.connect(b"{").close()
    site.turn()
    assert answer(site.ask("echo"))["ok"]


def test_who_does_not_read_is_cut_off_and_holds_up_nobody(site: Site) -> None:
    site.clock.advance(10)
    lazy = site.connect()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    future_text = "x" * 900_000
    lazy.sendall(b'{"command":"wait"}\n')
    site.turn()
    site.futures[0].set_result(Text(future_text))
    site.turn()
    assert answer(site.ask("echo"))["ok"]
    site.later(5)
    data = read(lazy)
    assert data is not None
    assert len(data) < len(future_text)
    assert read(lazy) == b""


def test_one_more_ends_the_oldest_that_has_not_asked(tmp_path: Path) -> None:
    site = Site(tmp_path / "c", ControlLimits(connections=3))
    waiting = site.ask("wait")
    first, second = site.connect(), site.connect()
    site.turn()
    assert answer(site.ask("echo"))["ok"]
    assert (read(first), read(second), read(waiting)) == (b"", None, None)
    site.futures[0].set_result(Text("done"))
    site.turn()
    assert answer(waiting)["result"] == {"text": "DONE"}
    site.close()


def test_when_all_wait_for_results_the_newcomer_goes(tmp_path: Path) -> None:
    site = Site(tmp_path / "c", ControlLimits(connections=2))
    waiting = [site.ask("wait"), site.ask("wait")]
    assert read(site.connect()) is None
    newcomer = site.clients[-1]
    site.turn()
    assert read(newcomer) == b""
    assert [read(client) for client in waiting] == [None, None]
    site.close()


def test_no_more_are_accepted_in_a_second_than_allowed(tmp_path: Path) -> None:
    site = Site(tmp_path / "c", ControlLimits(accepted_per_second=3))
    clients = [site.connect(b'{"command":"echo"}\n') for _ in range(5)]
    site.turn(10)
    assert [read(client) is not None for client in clients] == [True, True, True, False, False]
    site.later(1)
    assert read(clients[4]) is not None
    site.close()


def test_others_are_answered_while_one_waits(site: Site) -> None:
    waiting = site.ask("wait")
    waiting.sendall(b"noise that nobody reads" * 100)
    assert answer(site.ask("echo", "now"))["result"] == {"text": "now"}
    assert read(waiting) is None
    site.futures[0].set_result(Text("late"))
    site.turn()
    assert answer(waiting)["result"] == {"text": "LATE"}


def test_a_result_that_does_not_come(site: Site) -> None:
    waiting = site.ask("wait")
    site.later(2)
    assert answer(waiting)["error"] == {
        "kind": "timeout",
        "message": "there was no result within 2 s",
    }
    assert site.futures[0].cancelled()


def test_what_is_said_instead_of_a_result_that_does_not_come(site: Site) -> None:
    site.otherwise = Text("instead")
    waiting = site.ask("wait")
    site.later(2)
    assert answer(waiting)["result"] == {"text": "instead"}


def test_an_error_of_the_other_thread_is_told(site: Site) -> None:
    waiting = site.ask("wait")
    site.futures[0].set_exception(ConfigError("a:1:1: x", problems=("a:1:1: x",)))
    site.turn()
    assert answer(waiting)["error"]["problems"] == ["a:1:1: x"]


def test_at_the_end_results_go_out_and_others_are_told(site: Site) -> None:
    done, undone, silent = site.ask("wait"), site.ask("wait"), site.connect()
    site.turn()
    site.futures[0].set_result(Text("done"))
    site.server.close()
    assert answer(done)["result"] == {"text": "DONE"}
    assert answer(undone)["error"]["kind"] == "ending"
    assert read(silent) == b""
    assert not site.path.exists()
    site.futures[1].set_result(Text("too late"))  # and nothing breaks
    site.server.close()


def test_a_thread_answers_and_ends(tmp_path: Path) -> None:
    site = Site(tmp_path / "c")
    site.server.start()
    client = ControlClient(str(site.path))
    assert client.call("echo", Text, Text("a")) == Text("a")
    site.server.close()
    assert not site.path.exists()


def test_what_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    server = ControlServer(ControlConfig(path=str(tmp_path / "c")), CommandTable())
    server.step(0)
    server.close()
