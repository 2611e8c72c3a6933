"""How a supervisor and a child talk: length-prefixed MessagePack over a local stream socket."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Channel", "ChannelError"]

_LENGTH: Final = struct.Struct(">I")
_MAX_MESSAGE: Final = 268_435_456  # a policy of a million rules takes a third of it
_READ_BYTES: Final = 262_144
_READS: Final = 16  # what comes beyond waits for the next turn of the loop

ReceivedT = TypeVar("ReceivedT")


class ChannelError(Exception):
    """What came is no message of this protocol."""


class Channel(Generic[ReceivedT]):
    """One end of the way between a supervisor and a child; neither reading nor writing waits.

    Args:
        sock: The connected socket.
        decoder: Reads what comes.

    Attributes:
        ended: Whether the other end is gone.
    """

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[ReceivedT]) -> None:
        """Take the socket over."""
        sock.setblocking(False)  # noqa: FBT003  positional only
        self._socket = sock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = decoder
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.ended = False

    @classmethod
    def inherited(cls, descriptor: int, decoder: msgspec.msgpack.Decoder[ReceivedT]) -> Self:
        """Use a descriptor that the parent left open for us."""
        os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
        return cls(socket.socket(fileno=descriptor), decoder)

    def fileno(self) -> int:
        """Give the descriptor, to wait on."""
        return self._socket.fileno()

    @property
    def is_behind(self) -> bool:
        """Whether something still has to be written: wait until the socket can, then `flush`."""
        return bool(self._outgoing)

    def send(self, message: msgspec.Struct) -> None:
        """Say something; what the socket does not take now is kept."""
        if self.ended:
            return
        body = self._encoder.encode(message)
        self._outgoing += _LENGTH.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Write what is kept, as far as the socket takes it."""
        while self._outgoing and not self.ended:
            try:
                sent = self._socket.send(self._outgoing, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._end()
                return
            del self._outgoing[:sent]

    def finish(self, seconds: float) -> None:
        """Write what is kept, and wait for that as long as it may take."""
        end = time.monotonic() + seconds
        while self._outgoing and not self.ended and time.monotonic() < end:
            select.select([], [self._socket], [], 0.1)
            self.flush()

    def receive(self) -> list[ReceivedT]:
        """Give the messages that have come.

        Raises:
            ChannelError: Something else has come.
        """
        for _ in range(_READS):
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                self._end()
                break
            self._incoming += data
        return self._messages()

    def close(self) -> None:
        """Hang up."""
        self.ended = True
        self._socket.close()

    @property
    def unfinished(self) -> tuple[bytes, bytes]:
        """What was read of a message, and what was not written yet."""
        return bytes(self._incoming), bytes(self._outgoing)

    def resume(self, unfinished: tuple[bytes, bytes]) -> None:
        """Go on where the program of before stopped."""
        self._incoming += unfinished[0]
        self._outgoing += unfinished[1]

    def _end(self) -> None:
        self.ended = True
        self._outgoing.clear()

    def _messages(self) -> list[ReceivedT]:
        messages: list[ReceivedT] = []
        data = self._incoming
        while len(data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data)
            end = _LENGTH.size + length
            if length > _MAX_MESSAGE:
                raise ChannelError(f"a message of {length} bytes is too long")
            if len(data) < end:
                break
            try:
                messages.append(self._decoder.decode(memoryview(data)[_LENGTH.size : end]))
            except msgspec.DecodeError as error:
                raise ChannelError(str(error)) from error
            del data[:end]
        return messages
