"""Asks a running agent over its control socket."""

from __future__ import annotations

import errno
import grp
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import msgspec

from trireme_collector.control._config import DEFAULT_PATH
from trireme_collector.control._protocol import (
    MAX_ANSWER_BYTES,
    ErrorKind,
    read_answer,
    write_request,
)
from trireme_collector.errors import ConfigError, TriremeError
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from trireme_collector.control._protocol import Failure

__all__ = [
    "CommandFailedError",
    "ControlClient",
    "ControlDeniedError",
    "ControlError",
    "NoAnswerError",
    "NotRunningError",
]

_READ_BYTES: Final = 65_536
_RETRY_SECONDS: Final = 0.01
_EXIT_CODES: Final = {
    ErrorKind.CONFIG: ExitCode.CONFIG,
    ErrorKind.BAD_ARGUMENTS: ExitCode.USAGE,
    ErrorKind.TIMEOUT: ExitCode.DEGRADED,
}

ResultT = TypeVar("ResultT", bound=msgspec.Struct)


class ControlError(TriremeError):
    """A running agent could not be asked."""


class NotRunningError(ControlError):
    """Nobody listens at the control socket."""

    exit_code = ExitCode.NOT_RUNNING


class ControlDeniedError(ControlError):
    """The caller may not open the control socket."""

    exit_code = ExitCode.PRIVILEGE


class NoAnswerError(ControlError):
    """Something listens, and gives no answer, or none that can be understood."""

    exit_code = ExitCode.DEGRADED


class CommandFailedError(ControlError):
    """The agent answered that it did not do it.

    Attributes:
        kind: An `ErrorKind`, or one of a later version.
        problems: One line per mistake, each with its place, where there are several.
        exit_code: How a command that shows this error ends.
    """

    def __init__(self, failure: Failure) -> None:
        """Keep what the agent said."""
        super().__init__(failure.message)
        self.kind = failure.kind
        self.problems = failure.problems
        known = {kind.value: code for kind, code in _EXIT_CODES.items()}
        self.exit_code = known.get(failure.kind, ExitCode.FAILURE)


class ControlClient:
    """Sends commands to the agent that listens at a path; each on a connection of its own.

    Args:
        path: The control socket of the agent.
        timeout_seconds: How long a command may take, from connecting to the last byte.
    """

    def __init__(self, path: str = DEFAULT_PATH, *, timeout_seconds: float = 10.0) -> None:
        """Keep where to ask; connect to nothing."""
        self.path = path
        self._timeout_seconds = timeout_seconds

    def call(
        self, command: str, result: type[ResultT], arguments: msgspec.Struct | None = None
    ) -> ResultT:
        """Have a command done.

        Args:
            command: Its name.
            result: The type of its result.
            arguments: Its arguments, if it takes any.

        Raises:
            NotRunningError: Nobody listens.
            ControlDeniedError: The socket may not be opened.
            NoAnswerError: There was no answer in time, or none of this protocol.
            CommandFailedError: The agent did not do it.
        """
        return self.read(self.call_raw(command, arguments), result)

    def read(self, raw: bytes, result: type[ResultT]) -> ResultT:
        """Read what `call_raw` gave.

        Raises:
            NoAnswerError: It is not of this type.
        """
        try:
            return msgspec.json.decode(raw, type=result)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(str(error), error)

    def call_raw(self, command: str, arguments: msgspec.Struct | None = None) -> bytes:
        """Have a command done, and give its result as the JSON that the agent sent.

        Raises:
            ControlError: As for `call`.
        """
        line = self._exchange(write_request(command, arguments))
        try:
            answer = read_answer(line)
        except ValueError as error:
            self._refuse(str(error), error)
        if answer.error is not None:
            raise CommandFailedError(answer.error)
        if not answer.ok:
            self._refuse("it names no error", None)
        return bytes(answer.result)

    def _exchange(self, request: bytes) -> bytes:
        end = time.monotonic() + self._timeout_seconds
        received = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as peer:
            try:
                peer.settimeout(self._timeout_seconds)
                self._connect(peer, end)
                peer.sendall(request)
                while b"\n" not in received[-_READ_BYTES:]:
                    peer.settimeout(max(0.001, end - time.monotonic()))
                    data = peer.recv(_READ_BYTES)
                    received += data
                    if not data or len(received) > MAX_ANSWER_BYTES or time.monotonic() > end:
                        break
            except TimeoutError as error:
                raise self._no_answer() from error
            except (OSError, ValueError) as error:
                if received:
                    self._refuse("it ends early", error)
                raise self._unreachable(error) from error
        line, end_of_line, _ = bytes(received).partition(b"\n")
        if not end_of_line:
            if time.monotonic() > end:
                raise self._no_answer()
            self._refuse("it ends early or is too long", None)
        return line

    def _connect(self, peer: socket.socket, end: float) -> None:
        """Connect; while others wait to be served and there is no room for more, try again."""
        while True:
            try:
                peer.connect(self.path)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError from None
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _no_answer(self) -> NoAnswerError:
        return NoAnswerError(
            f"the agent at {self.path} did not answer within {self._timeout_seconds:g} s; it is"
            " overloaded or hangs: look at its log, then restart it"
        )

    def _refuse(self, reason: str, error: Exception | None) -> NoReturn:
        msg = (
            f"what answered at {self.path} is not understood ({reason}); is that the control"
            " socket of an agent, of this version?"
        )
        raise NoAnswerError(msg) from error

    def _unreachable(self, error: OSError | ValueError) -> TriremeError:
        code = error.errno if isinstance(error, OSError) else None
        if code in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
            return NotRunningError(
                f"no agent listens at {self.path}; start one, or name the path of its control"
                " socket with --socket"
            )
        if code in {errno.EACCES, errno.EPERM}:
            return ControlDeniedError(
                f"the control socket {self.path} may not be opened; {self._who_may()}"
            )
        if code in {errno.ECONNRESET, errno.EPIPE}:
            return NoAnswerError(
                f"the agent at {self.path} hung up; it has too many clients, or ended: try again"
            )
        if code is None or code in {errno.ENAMETOOLONG, errno.EINVAL}:
            return ConfigError(f"{self.path!r} cannot be the path of a socket: {error}")
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return NotRunningError(f"nobody can be asked at {self.path}: {reason}")

    def _who_may(self) -> str:
        try:
            gid = Path(self.path).stat().st_gid
        except OSError:
            return "its directory is closed to you: become the user of the agent, or root"
        try:
            name = grp.getgrgid(gid).gr_name
        except KeyError:
            name = str(gid)
        return f"become a member of the group {name}, or root"
