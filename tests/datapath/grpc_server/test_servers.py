"""Servers on real sockets: their services, their places, and what they refuse."""

from __future__ import annotations

import asyncio
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from trireme_collector.control import SocketBusyError
from trireme_collector.errors import ConfigError
from trireme_datapath.grpc_server import ListenConfig, parse_schema
from trireme_datapath.grpc_server._config import MAX_PATH_BYTES

grpc = pytest.importorskip("grpc")

from trireme_datapath.grpc_server import (  # noqa: E402  after the extra was found
    GrpcServers,
    Messages,
    Service,
    unary,
    unary_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

SCHEMA = """\
file test/echo.proto
package test
message Text
  text 1 string
service Echo
  Say Text -> Text
  Repeat Text -> stream Text
"""


def echo() -> tuple[Service, Messages]:
    messages = Messages(parse_schema([SCHEMA]))
    text = messages["test.Text"]

    async def say(asked: Message, context: object) -> Message:
        del context
        return asked

    async def repeat(asked: Message, context: object) -> AsyncIterator[Message]:
        del context
        for _ in range(3):
            yield asked

    def shout(asked: Message, context: object) -> Message:
        del context
        return text(text=str(asked.ListFields()[0][1]).upper())

    handlers = {
        "Say": unary(say, text),
        "Repeat": unary_stream(repeat, text),
        "Shout": unary(shout, text),
    }
    service = Service(
        name="test.Echo", handlers=handlers, files=messages.files, health_names=("test",)
    )
    return service, messages


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/s"


@pytest.fixture
def servers(place: str) -> Iterator[GrpcServers]:
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0])
    made.open()
    yield made
    made.close(0)


def call(place: str, method: str, content: bytes) -> bytes:
    with grpc.insecure_channel(place) as channel:
        answer: bytes = channel.unary_unary(method)(content, timeout=10)
    return answer


def test_coroutines_and_plain_functions_answer(servers: GrpcServers, place: str) -> None:
    del servers
    assert call(place, "/test.Echo/Say", b"\x0a\x02hi") == b"\x0a\x02hi"
    assert call(place, "/test.Echo/Shout", b"\x0a\x02hi") == b"\x0a\x02HI"
    with grpc.insecure_channel(place) as channel:
        assert list(channel.unary_stream("/test.Echo/Repeat")(b"", timeout=10)) == [b""] * 3


def test_health_is_told(servers: GrpcServers, place: str) -> None:
    del servers
    method = "/grpc.health.v1.Health/Check"
    assert call(place, method, b"") == b"\x08\x01"
    assert call(place, method, b"\x0a\x04test") == b"\x08\x01"
    assert call(place, method, b"\x0a\x09test.Echo") == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as caught:
        call(place, method, b"\x0a\x05other")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with grpc.insecure_channel(place) as channel:
        watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x05other")
        assert next(watching) == b"\x08\x03"
        watching.cancel()


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_reflection_describes_every_service(servers: GrpcServers, place: str, version: str) -> None:
    del servers
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    asked = [b"\x3a\x00", b"\x22\x09test.Echo", b"\x1a\x0ftest/echo.proto", b"\x22\x04none"]
    with grpc.insecure_channel(place) as channel:
        listed, *found, missing = channel.stream_stream(method)(iter(asked), timeout=10)
    for name in (b"test.Echo", b"grpc.health.v1.Health", b"reflection.v1alpha.ServerReflection"):
        assert name in listed
    assert all(echo()[1].files["test/echo.proto"] in answer for answer in found)
    assert b"not found" in missing


def test_a_socket_is_for_owner_and_group(servers: GrpcServers, tmp_path: Path) -> None:
    status = (tmp_path / "s").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660
    servers.close(0)
    assert list(tmp_path.iterdir()) == []


def test_a_living_server_keeps_its_socket(servers: GrpcServers, place: str) -> None:
    del servers
    second = GrpcServers()
    second.add("echo", ListenConfig(listen=[place]), echo()[0])
    with pytest.raises(SocketBusyError, match=r"\[echo\] another process has"):
        second.open()
    assert call(place, "/test.Echo/Say", b"") == b""


def test_what_a_killed_server_left_is_removed(place: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0])
    made.open()
    assert call(place, "/test.Echo/Say", b"") == b""
    made.close(0)


def test_what_else_a_killed_server_left_is_removed(place: str, tmp_path: Path) -> None:
    left = tmp_path / ".s.abcdefgh.grpc"
    left.mkdir()
    (left / "b").touch()
    other = tmp_path / ".s2.abcdefgh.grpc"
    other.mkdir()
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0])
    made.open()
    made.close(0)
    assert list(tmp_path.iterdir()) == [other]


def test_the_longest_path_can_be_served(tmp_path: Path) -> None:
    directory = tmp_path
    room = MAX_PATH_BYTES - len(str(directory)) - 1
    place = f"unix://{directory}/{'s' * room}"
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0], identify=True)
    made.open()
    assert call(place, "/test.Echo/Say", b"") == b""
    made.close(0)


def test_a_file_is_never_removed(place: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0])
    with pytest.raises(ConfigError, match="is no socket"):
        made.open()
    assert (tmp_path / "s").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_directory_for_everybody_is_refused(place: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    made = GrpcServers()
    made.add("echo", ListenConfig(listen=[place]), echo()[0])
    with pytest.raises(ConfigError, match="everybody can replace"):
        made.open()


def test_services_share_an_address(place: str) -> None:
    service, _ = echo()
    made = GrpcServers()
    made.add("one", ListenConfig(listen=[place]), service)
    made.add("two", ListenConfig(listen=[place]), service._replace(name="test.Other"))
    made.open()
    assert call(place, "/test.Echo/Say", b"") == b""
    assert call(place, "/test.Other/Say", b"") == b""
    made.close(0)
    with pytest.raises(ConfigError, match=r"\[one\] and \[two\] share"):
        made.add("two", ListenConfig(listen=[place], group="adm"), service)


def test_calls_beyond_the_limit_are_refused(place: str) -> None:
    service, messages = echo()

    async def wait(asked: Message, context: object) -> AsyncIterator[Message]:
        yield asked
        del context
        await asyncio.get_running_loop().create_future()

    handlers = {"Wait": unary_stream(wait, messages["test.Text"])}
    made = GrpcServers()
    config = ListenConfig(listen=[place], max_streams=2)
    made.add("echo", config, service._replace(handlers=handlers))
    made.open()
    with grpc.insecure_channel(place) as channel:
        method = channel.unary_stream("/test.Echo/Wait")
        waiting = []
        for _ in range(2 + 16):
            waiting.append(method(b"", timeout=10))
            assert next(waiting[-1]) == b""
        with pytest.raises(grpc.RpcError) as caught:
            next(method(b"", timeout=10))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    made.close(0)


def test_a_huge_request_is_refused(servers: GrpcServers, place: str) -> None:
    del servers
    with pytest.raises(grpc.RpcError) as caught:
        call(place, "/test.Echo/Say", b"\x0a\x80\x80\x80\x01" + bytes(1 << 21))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_malformed_request_is_refused(servers: GrpcServers, place: str) -> None:
    del servers
    with pytest.raises(grpc.RpcError) as caught:
        call(place, "/test.Echo/Say", b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the request is no test.Text"
    assert call(place, "/test.Echo/Say", b"") == b""


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Settings, then headers of stream 1 that are no headers, and a frame that is longer than allowed.
FRAMES = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
)


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 64,
        PREFACE[:7],
        PREFACE + FRAMES[0] + FRAMES[1],
        PREFACE + FRAMES[0] + FRAMES[2] + bytes(4096),
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_http2_hurts_nobody(
    servers: GrpcServers, place: str, tmp_path: Path, content: bytes
) -> None:
    del servers
    strangers = []
    for _ in range(20):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(tmp_path / "s"))
        stranger.sendall(content)
        strangers.append(stranger)
    assert call(place, "/test.Echo/Say", b"\x0a\x02hi") == b"\x0a\x02hi"
    for stranger in strangers:
        stranger.close()
    assert call(place, "/test.Echo/Say", b"") == b""
