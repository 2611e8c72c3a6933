"""Carries connections of a unix socket to the server behind it, and knows whose they are.

gRPC does not say who is at the other end of a unix socket. So the socket is ours: the server
behind it listens in a directory that only we can enter, each connection comes to it from a name
of its own there, and that name leads back to the process and user that connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from struct import Struct
from typing import Final
from urllib.parse import quote, unquote

import msgspec

__all__ = ["LocalPeer", "Relay"]

_BACKLOG: Final = 128
_CHUNK: Final = 65_536
_NAMES: Final = 1_000_000  # a name must not make a path too long
_credentials = Struct("3i")


class LocalPeer(msgspec.Struct, frozen=True, gc=False):
    """Who was at the other end of a unix socket when it was connected."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        """Say it in words."""
        return f"uid {self.uid} (process {self.pid})"


class Relay:
    """Listens at a socket for a server behind it.

    Args:
        making: The path to make the socket at, in a directory that only we can enter.
        max_connections: How many may be open at once; more are closed again.
    """

    def __init__(self, making: Path, max_connections: int) -> None:
        """Make the socket; nothing is accepted yet."""
        self._directory = making.parent
        self._max = max_connections
        self._peers: dict[str, LocalPeer] = {}
        self._count = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._back = str(self._directory / "b")
        self._front = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._front.bind(str(making))
        except OSError:
            self._front.close()
            raise

    @property
    def target(self) -> str:
        """Where the server behind has to listen, as gRPC writes it."""
        return f"unix:{quote(self._back)}"

    def peer(self, name: str) -> LocalPeer | None:
        """Give who is behind a connection, by the name that gRPC calls it."""
        return self._peers.get(unquote(name.removeprefix("unix:")))

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_unix_server(
            self._accept, sock=self._front, backlog=_BACKLOG
        )

    def refuse(self) -> None:
        """Accept no more connections."""
        if self._server is not None:
            self._server.close()
        self._front.close()

    async def stop(self) -> None:
        """Close everything, and remove what was made in the directory."""
        self.refuse()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _remove(self._back)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if len(self._peers) >= self._max or task is None:
            writer.close()
            return
        self._tasks.add(task)
        name = self._name()
        try:
            self._peers[name] = _peer_of(writer.get_extra_info("socket"))
            await self._carry(name, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side went away, or the server ends: the other side sees it
        finally:
            self._peers.pop(name, None)
            self._tasks.discard(task)
            writer.close()
            _remove(name)

    def _name(self) -> str:
        while True:
            self._count = (self._count + 1) % _NAMES
            name = str(self._directory / str(self._count))
            if name not in self._peers:
                return name

    async def _carry(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        back = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            back.bind(name)
            await asyncio.get_running_loop().sock_connect(back, self._back)
            back_reader, back_writer = await asyncio.open_connection(sock=back)
        except BaseException:
            back.close()
            raise
        # When one direction ends, the connection does: HTTP/2 knows no half of one.
        ways = [
            asyncio.create_task(_pump(reader, back_writer)),
            asyncio.create_task(_pump(back_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Before anything is waited for: the wait may be cut short.
            back_writer.close()
            writer.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


def _peer_of(connection: socket.socket) -> LocalPeer:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
    return LocalPeer(*_credentials.unpack(data))


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        Path(name).unlink()
