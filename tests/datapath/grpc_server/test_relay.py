"""The relay in front of a server: who connects, how many, and what is left behind."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.grpc_server import ListenConfig, parse_schema

grpc = pytest.importorskip("grpc")

from trireme_datapath.grpc_server import (  # noqa: E402  after the extra was found
    GrpcServers,
    Messages,
    Service,
    unary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    Context = ServicerContext[bytes, bytes]

SCHEMA = """\
file test/who.proto
package test
message Text
  text 1 string
service Who
  Ask Text -> Text
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/s"


@pytest.fixture
def servers(place: str) -> Iterator[GrpcServers]:
    messages = Messages(parse_schema([SCHEMA]))
    text = messages["test.Text"]
    made = GrpcServers()

    async def ask(asked: Message, context: Context) -> Message:
        del asked
        return text(text=str(made.peer(context.peer())))

    service = Service("test.Who", {"Ask": unary(ask, text)}, messages.files)
    made.add("who", ListenConfig(listen=[place], max_streams=2), service, identify=True)
    made.open()
    yield made
    made.close(0)


def ask(place: str) -> bytes:
    with grpc.insecure_channel(place) as channel:
        # The server notices only after us that other connections are gone.
        method = channel.unary_unary("/test.Who/Ask")
        answer: bytes = method(b"", timeout=10, wait_for_ready=True)
    return answer


def test_the_client_is_known(servers: GrpcServers, place: str) -> None:
    del servers
    assert f"uid {os.getuid()} (process {os.getpid()})".encode() in ask(place)


def test_the_socket_is_for_owner_and_group(servers: GrpcServers, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    servers.close(0)
    assert list(tmp_path.iterdir()) == []


def test_too_many_connections_are_closed_and_others_live_on(
    servers: GrpcServers, place: str, tmp_path: Path
) -> None:
    del servers
    idle = []
    for _ in range(8):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(10)
        one.connect(str(tmp_path / "s"))
        idle.append(one)
    # Those that are let in hear the settings of the server, the others the end.
    heard = [one.recv(100) for one in idle]
    assert len([data for data in heard if data]) == 4
    for one in idle:
        one.close()
    assert b"uid" in ask(place)


def test_who_is_nobody_of_ours_is_not_known(servers: GrpcServers) -> None:
    assert servers.peer("ipv4:192.0.2.1:4000") is None
    assert servers.peer("unix:/somewhere") is None
