"""What the kernel says of interfaces and namespaces, and what it never should."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector_host import _links
from trireme_collector_host._links import NamespaceLinks

if TYPE_CHECKING:
    from pathlib import Path


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def link(name: str, namespace: int | None) -> bytes:
    body = bytes(16) + attribute(3, name.encode() + b"\0")
    if namespace is not None:
        body += attribute(37, struct.pack("=i", namespace))
    return message(16, 1, body)


class Kernel:
    """Answers as the kernel does."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.closed = False

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def send(self, data: bytes) -> int:
        return len(data)

    def recv(self, size: int) -> bytes:
        assert size
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


def ask(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> tuple[NamespaceLinks, Kernel]:
    kernel = Kernel(*answers)
    monkeypatch.setattr("trireme_collector_host._links.socket.socket", lambda *_: kernel)
    return NamespaceLinks(), kernel


LIST = link("veth1", 3) + link("lo", None) + link("veth2", 3) + link("veth3", 4)
DONE = message(3, 1, bytes(4))


def test_interfaces_are_found_by_the_number_of_their_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    number = message(88, 2, bytes(4) + attribute(1, struct.pack("=i", 3)))
    links, kernel = ask(monkeypatch, LIST, DONE, number)
    with links:
        assert links.into(str(tmp_path)) == ("veth1", "veth2")
    assert kernel.closed


def test_a_namespace_without_a_number_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    number = message(88, 2, bytes(4) + attribute(1, struct.pack("=i", -1)))
    links, _ = ask(monkeypatch, LIST, DONE, number)
    assert links.into(str(tmp_path)) == ()


def test_a_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusal = message(2, 2, struct.pack("=i", -22) + bytes(16))
    links, _ = ask(monkeypatch, LIST, DONE, refusal)
    with pytest.raises(OSError, match=os.strerror(22)):
        links.into(str(tmp_path))


def test_a_socket_that_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = message(2, 1, struct.pack("=i", -1) + bytes(16))
    kernel = Kernel(refusal)
    monkeypatch.setattr("trireme_collector_host._links.socket.socket", lambda *_: kernel)
    with pytest.raises(OSError, match=os.strerror(1)):
        NamespaceLinks()
    assert kernel.closed


@given(data=st.binary(max_size=200))
def test_nothing_that_comes_raises(data: bytes) -> None:
    for _, _, body in _links._messages(data):
        list(_links._attributes(body))
    list(_links._attributes(data))
