"""The children of a supervisor: started, listened to, and buried."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from trireme_datapath.processes._channel import Channel, ChannelError
from trireme_datapath.processes._state import ChildState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

    import msgspec

__all__ = ["PROGRAM", "Child", "Reactor", "start_child"]

PROGRAM: Final = ("-I", "-m", "trireme_datapath.processes")
"""What stands behind the interpreter: isolated from the directory and environment of the caller."""

# What a child's programs and messages may need. Nothing else of the environment reaches those
# that judge packets.
_PLAIN: Final = ("PATH", "LANG", "LC_ALL", "TZ")
_WAKE_BYTES: Final = 65_536

ReceivedT = TypeVar("ReceivedT")


class Child(Generic[ReceivedT]):
    """A process that was started, and the way to it.

    Attributes:
        pid: Its number.
        channel: The way to it.
        generation: How often the program had been exchanged when it was started.
        born_ns: When it was started, by a clock that does not jump.
        exit_code: How it ended, as `subprocess.Popen.returncode`; None before.
    """

    def __init__(self, pid: int, channel: Channel[ReceivedT], generation: int) -> None:
        """Watch over a process that runs."""
        self.pid = pid
        self.channel = channel
        self.generation = generation
        self.born_ns = time.monotonic_ns()
        self.pidfd = os.pidfd_open(pid)
        self.exit_code: int | None = None

    @classmethod
    def resumed(cls, state: ChildState, decoder: msgspec.msgpack.Decoder[ReceivedT]) -> Self:
        """Go on with a child of the program of before."""
        channel = Channel.inherited(state.channel, decoder)
        channel.resume((state.incoming, state.outgoing))
        return cls(state.pid, channel, state.generation)

    def state(self) -> ChildState:
        """Say what the next program has to know of it."""
        incoming, outgoing = self.channel.unfinished
        return ChildState(
            pid=self.pid,
            channel=self.channel.fileno(),
            incoming=incoming,
            outgoing=outgoing,
            generation=self.generation,
        )

    def send(self, message: msgspec.Struct) -> None:
        """Say something."""
        self.channel.send(message)

    def kill(self) -> None:
        """End it now."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> str:
        """Take note of its end; it has ended, or is about to.

        Returns:
            How it ended, in a few words.
        """
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "ended"
        finally:
            self.channel.close()
            if self.pidfd >= 0:
                os.close(self.pidfd)
            self.pidfd = -1
        self.exit_code = code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return f"ended with code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"


def start_child(
    role: str,
    decoder: msgspec.msgpack.Decoder[ReceivedT],
    descriptors: Iterable[int],
    *,
    log: tuple[str, str],
    generation: int,
    environment: Mapping[str, str] | None = None,
) -> Child[ReceivedT]:
    """Start a process of this program, isolated from the directory and environment of the caller.

    Args:
        role: What it is to be.
        decoder: Reads what it says.
        descriptors: What it inherits, under the same numbers.
        log: The words that tell it how to log.
        generation: How often the program has been exchanged.
        environment: Its environment; a plain one by default.

    Raises:
        OSError: There is no room for another process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if environment is None:
        environment = {name: os.environ[name] for name in _PLAIN if name in os.environ}
    words = [*PROGRAM, role, str(theirs.fileno()), *log]
    inherited = sorted({theirs.fileno(), *descriptors})
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *words],
            dict(environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, one, one) for one in inherited],
            setpgroup=0,  # what is typed at a terminal is for the supervisor
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Child(pid, Channel(ours, decoder), generation)


class Reactor:
    """Waits for children, and for whoever wakes it."""

    def __init__(self) -> None:
        """Start without children."""
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._children: dict[int, tuple[Child[object], Callable[[object], None]]] = {}
        self._buriers: dict[int, Callable[[str], None]] = {}

    def add(
        self,
        child: Child[ReceivedT],
        hear: Callable[[ReceivedT], None],
        bury: Callable[[str], None],
    ) -> None:
        """Listen to a child until it ends.

        Args:
            child: Whom.
            hear: Called with each message.
            bury: Called once, when it has ended, with how.
        """
        self._children[child.pid] = child, hear  # type: ignore[assignment]  # they fit each other
        self._buriers[child.pid] = bury
        self._selector.register(child.channel.fileno(), selectors.EVENT_READ, (child.pid, False))
        self._selector.register(child.pidfd, selectors.EVENT_READ, (child.pid, True))

    def wake(self) -> None:
        """Make `step` return; for signal handlers and other threads."""
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"w")

    def step(self, timeout_seconds: float) -> None:
        """Wait once, and pass on what came.

        Args:
            timeout_seconds: How long to wait at most.
        """
        for child, _ in self._children.values():
            self._want(child)
        for key, _ in self._selector.select(timeout_seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, _WAKE_BYTES)
                continue
            pid, ended = key.data
            if pid in self._children:
                self._serve(pid, ended=ended)

    def close(self) -> None:
        """Kill who is left, and let go of everything."""
        for pid, (child, _) in tuple(self._children.items()):
            child.kill()
            self._forget(pid)
            child.reap()
        self._selector.close()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def _want(self, child: Child[object]) -> None:
        if child.channel.ended:
            return
        wanted = selectors.EVENT_READ
        if child.channel.is_behind:
            wanted |= selectors.EVENT_WRITE
        key = self._selector.get_key(child.channel.fileno())
        if key.events != wanted:
            self._selector.modify(child.channel.fileno(), wanted, key.data)

    def _serve(self, pid: int, *, ended: bool) -> None:
        child, hear = self._children[pid]
        channel = child.channel
        if not channel.ended:
            channel.flush()
            descriptor = channel.fileno()
            try:
                messages = channel.receive()
            except ChannelError:
                child.kill()
                messages = []
            for message in messages:
                hear(message)
            if child.channel.ended:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(descriptor)
        if ended and pid in self._children:
            bury = self._buriers[pid]
            self._forget(pid)
            bury(child.reap())

    def _forget(self, pid: int) -> None:
        child, _ = self._children.pop(pid)
        del self._buriers[pid]
        for descriptor in (child.channel.fileno(), child.pidfd):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
