"""The client tells apart: nobody there, not allowed, no answer, and an answer that says no."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector.control import (
    CommandFailedError,
    ControlClient,
    ControlDeniedError,
    NoAnswerError,
    NotRunningError,
)
from trireme_collector.errors import ConfigError
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Text(msgspec.Struct):
    """A result."""

    text: str


class Scripted:
    """Answers one client with given bytes."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.answer = b""
        self.hold = threading.Event()
        self.received = b""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        peer, _ = self._listening.accept()
        with peer:
            if not self.answer:
                self.hold.wait(10)
                return
            self.received = peer.recv(65536)
            try:
                peer.sendall(self.answer)
            except OSError:
                return  # the client has heard enough

    def close(self) -> None:
        self.hold.set()
        if self._thread.is_alive():
            with socket.socket(socket.AF_UNIX) as last:
                last.connect_ex(self.path)
        self._thread.join(10)
        self._listening.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Scripted]:
    made = Scripted(tmp_path / "c")
    yield made
    made.close()


def test_a_result(agent: Scripted) -> None:
    agent.answer = b'{"version":1,"ok":true,"result":{"text":"x","more":1}}\nrest'
    assert ControlClient(agent.path).call("say", Text) == Text("x")
    assert agent.received == b'{"version":1,"command":"say","arguments":{}}\n'


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("config", ExitCode.CONFIG),
        ("timeout", ExitCode.DEGRADED),
        ("bad_arguments", ExitCode.USAGE),
        ("of_a_later_version", ExitCode.FAILURE),
    ],
)
def test_a_refusal(agent: Scripted, kind: str, code: ExitCode) -> None:
    error = f'{{"kind":"{kind}","message":"m","problems":["p"]}}'
    agent.answer = f'{{"version":1,"ok":false,"error":{error}}}\n'.encode()
    with pytest.raises(CommandFailedError, match="m") as caught:
        ControlClient(agent.path).call("say", Text)
    assert (caught.value.kind, caught.value.problems) == (kind, ("p",))
    assert caught.value.exit_code == code


@pytest.mark.parametrize(
    "answer",
    [
        b"\n",
        b"HTTP/1.1 400\r\n",
        b'{"version":1,"ok":true,"result":{"text":1}}\n',
        b'{"version":1,"ok":true,"result":' + b"[" * 100_000 + b"\n",
        b'{"version":1,"ok":false}\n',
        b'{"version":1,"ok":true',
        b"x" * 3_000_000,
    ],
)
def test_what_is_no_answer(agent: Scripted, answer: bytes) -> None:
    agent.answer = answer
    with pytest.raises(NoAnswerError, match="is not understood"):
        ControlClient(agent.path).call("say", Text)


def test_no_answer_in_time(agent: Scripted) -> None:
    with pytest.raises(NoAnswerError, match=r"did not answer within 0\.05 s"):
        ControlClient(agent.path, timeout_seconds=0.05).call("say", Text)


def test_an_agent_with_too_many_clients_is_not_taken_for_one_that_is_away(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as other:
        listening.bind(path)
        listening.listen(0)
        other.connect(path)  # the only place
        with pytest.raises(NoAnswerError, match=r"did not answer within 0\.05 s"):
            ControlClient(path, timeout_seconds=0.05).call("echo", Text)

        def serve() -> None:
            listening.accept()[0].close()
            peer, _ = listening.accept()
            with peer:
                assert peer.recv(1_000)
                peer.sendall(b'{"version":1,"ok":true,"result":{"text":"here"}}\n')

        thread = threading.Timer(0.05, serve)
        thread.start()
        assert ControlClient(path).call("echo", Text) == Text("here")
        thread.join()


def test_nobody_is_there(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(NotRunningError, match="no agent listens at"):
        ControlClient(str(path)).call("say", Text)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(NotRunningError, match="no agent listens at"):
        ControlClient(str(path)).call("say", Text)


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the path of a socket"):
        ControlClient(str(tmp_path / ("x" * 200))).call("say", Text)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, ControlDeniedError),
        (errno.ECONNRESET, NoAnswerError),
        (errno.EMFILE, NotRunningError),
    ],
)
def test_other_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    (tmp_path / "c").touch()

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(kind, match=r"member of the group|hung up|Too many open"):
        ControlClient(str(tmp_path / "c")).call("say", Text)
