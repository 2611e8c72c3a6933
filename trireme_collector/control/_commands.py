"""Which commands a running agent takes, and how one becomes an answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from trireme_collector.control._protocol import (
    ErrorKind,
    Failure,
    write_failure,
    write_result,
)
from trireme_collector.errors import ConfigError, PluginError, TriremeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from trireme_collector.control._protocol import Request

__all__ = ["CommandTable", "ControlCommand", "Later", "NoArguments", "Peer", "failure_of"]

ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)
ResultT = TypeVar("ResultT", bound=msgspec.Struct)
FoundT = TypeVar("FoundT")


class Peer(NamedTuple):
    """Who asks, as the kernel says it."""

    pid: int
    uid: int
    gid: int


class NoArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a command that takes none."""


class Later(Generic[ResultT]):
    """A result that needs the work of another thread.

    Args:
        future: What that thread gives.
        then: Makes the result of it, in the thread of the socket.
        patience_seconds: How long to wait.
        otherwise: Makes a result after that time; without it, the command fails.
    """

    def __init__(
        self,
        future: Future[FoundT],
        then: Callable[[FoundT], ResultT],
        *,
        patience_seconds: float,
        otherwise: Callable[[], ResultT] | None = None,
    ) -> None:
        """Keep what to wait for."""
        self.patience_seconds = patience_seconds
        self.otherwise = otherwise
        self.is_done: Callable[[], bool] = future.done
        self.cancel: Callable[[], bool] = future.cancel
        self.result: Callable[[], ResultT] = lambda: then(future.result(0))
        self._add = future.add_done_callback

    def when_done(self, call: Callable[[], None]) -> None:
        """Have something called once `result` can be, by whatever thread gives it."""
        self._add(lambda _: call())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ControlCommand(Generic[ArgumentsT, ResultT]):
    """A command that a running agent takes.

    Attributes:
        name: What it is called.
        summary: What it does, in one line.
        arguments: The type of its arguments; give it ``forbid_unknown_fields=True``.
        result: The type of its result.
        handler: Does it. It is called by the thread of the socket and must be quick; what is not,
            it leaves to another thread and returns `Later`. It may raise a `TriremeError`.
    """

    name: str
    summary: str
    arguments: type[ArgumentsT]
    result: type[ResultT]
    handler: Callable[[ArgumentsT, Peer], ResultT | Later[ResultT]]


class CommandTable:
    """The commands of one agent; they are added before it listens."""

    def __init__(self) -> None:
        """Start without any."""
        self._commands: dict[str, _AnyCommand] = {}

    def add(self, command: ControlCommand[ArgumentsT, ResultT]) -> None:
        """Take a command in.

        Raises:
            ValueError: There is one of that name.
        """
        if command.name in self._commands:
            msg = f"there is a command {command.name!r} already; choose another name"
            raise ValueError(msg)
        self._commands[command.name] = command  # type: ignore[assignment]  # its parts fit each other

    def names(self) -> list[str]:
        """Name the commands, sorted."""
        return sorted(self._commands)

    def run(self, request: Request, peer: Peer) -> bytes | Later[msgspec.Struct]:
        """Do what is asked for.

        Returns:
            The line that answers, or where the result will be.
        """
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(self.names()) or "none"
            msg = f"there is no command {request.command!r}; this agent has: {known}"
            return write_failure(Failure(kind=ErrorKind.UNKNOWN_COMMAND, message=msg))
        try:
            arguments = msgspec.json.decode(request.arguments, type=command.arguments)
        except RecursionError:
            msg = f"{command.name}: the arguments are nested too deeply"
            return write_failure(Failure(kind=ErrorKind.BAD_ARGUMENTS, message=msg))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = f"{command.name}: {error}"
            return write_failure(Failure(kind=ErrorKind.BAD_ARGUMENTS, message=msg))
        try:
            result = command.handler(arguments, peer)
            return result if isinstance(result, Later) else write_result(result)
        except Exception as error:  # noqa: BLE001  an embedder's handler may raise anything; the answer says so
            return write_failure(failure_of(error))


_AnyCommand = ControlCommand[msgspec.Struct, msgspec.Struct]


def failure_of(error: BaseException) -> Failure:
    """Describe an error to who asked."""
    if isinstance(error, (ConfigError, PluginError)):
        problems = tuple(getattr(error, "problems", ()))
        return Failure(kind=ErrorKind.CONFIG, message=str(error), problems=problems)
    if isinstance(error, TriremeError):
        return Failure(kind=ErrorKind.FAILED, message=str(error))
    msg = f"{type(error).__name__}: {error}; this is a mistake in the program"
    return Failure(kind=ErrorKind.INTERNAL, message=msg)
