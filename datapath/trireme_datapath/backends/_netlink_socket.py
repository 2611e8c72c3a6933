"""The socket of one packet queue: opened, configured, taken over, closed."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct

from trireme_collector.errors import DatapathError, PrivilegeError
from trireme_datapath.backends._errors import QueueBusyError
from trireme_datapath.backends._netlink_codec import (
    MAX_COPY_RANGE,
    ErrorMessage,
    MessageError,
    QueueFlag,
    batch_verdict,
    bind_message,
    copy_message,
    flags_message,
    max_length_message,
    parse_message,
    unbind_message,
)
from trireme_datapath.backends._queue_statistics import holder_of, read_statistics

if TYPE_CHECKING:
    from types import TracebackType

    from trireme_datapath.packets import Verdict

__all__ = ["NetlinkQueue", "QueueSettings", "has_net_admin", "memory_per_packet"]

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_NO_ENOBUFS: Final = 5
_SO_RCVBUFFORCE: Final = 33
_CAP_NET_ADMIN: Final = 12
_MAX_QUEUE_NUMBER: Final = 0xFFFF
_MAX_ANSWER: Final = 65_536
# Packets may come between a request and its answer; more than a full buffer can not.
_MAX_WAITING: Final = 100_000


class QueueSettings(Struct, frozen=True, kw_only=True, gc=False):
    """How a queue is opened.

    Attributes:
        copy_range: Bytes of each packet that are copied; the headers are enough for judging.
        max_length: Packets that may wait; the kernel drops what comes beyond, or lets it pass
            with ``fail_open``.
        fail_open: Let packets pass unjudged when the queue is full. Off: they are dropped.
        gso: Take large segments whole. Off: the kernel cuts them first, which costs much.
        uid_gid: Ask for the owner of the sending socket.
        receive_buffer: Bytes for the socket's buffer; None: what ``max_length`` packets need.
    """

    copy_range: int = 128
    max_length: int = 8192
    fail_open: bool = False
    gso: bool = True
    uid_gid: bool = False
    receive_buffer: int | None = None

    @property
    def receive_buffer_bytes(self) -> int:
        """What to ask for the socket's buffer; the kernel doubles it and keeps it in 31 bits."""
        size = self.receive_buffer
        if size is None:
            size = self.max_length * memory_per_packet(self.copy_range)
        return min(size, 0x3FFFFFFF)

    def check(self) -> None:
        """Refuse values that the kernel would silently change.

        Raises:
            DatapathError: A value is out of range.
        """
        if not 64 <= self.copy_range <= MAX_COPY_RANGE:
            raise DatapathError(
                f"copy range {self.copy_range} is not possible:"
                f" choose 64 (room for headers) to {MAX_COPY_RANGE}"
            )
        if not 1 <= self.max_length <= 0xFFFFFFFF:
            raise DatapathError(f"queue length {self.max_length} is not possible: choose 1 or more")


def memory_per_packet(copy_range: int) -> int:
    """Tell what a waiting message costs the socket's buffer, bookkeeping of the kernel included.

    Measured: 832 bytes up to 128 copied, 2,304 at 1,400. Beyond the small size the kernel takes
    the next power of two for data, attributes and its own trailer, and 256 for its descriptor.
    """
    if copy_range <= 128:
        return 832
    return 256 + (1 << (copy_range + 452 - 1).bit_length())


class NetlinkQueue:
    """The kernel's side of one queue, over a plain AF_NETLINK socket.

    Attributes:
        queue_number: The queue.
        settings: How it was opened.
        capacity: How many packets the socket's buffer really holds; below
            ``settings.max_length`` when the kernel did not grant a buffer of that size.
        early: Packet messages that came while the queue was configured.
    """

    def __init__(self, sock: socket.socket, queue_number: int, settings: QueueSettings) -> None:
        """Hold an open socket; see `open` and `from_socket`."""
        self._socket = sock
        self._sequence = 0
        self._owner = os.getpid()
        self.queue_number = queue_number
        self.settings = settings
        self.early: list[bytes] = []
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.capacity = granted // memory_per_packet(settings.copy_range)

    @classmethod
    def open(cls, queue_number: int, settings: QueueSettings | None = None) -> Self:
        """Bind a queue and configure it.

        Raises:
            QueueBusyError: Another socket holds the queue.
            PrivilegeError: CAP_NET_ADMIN or the module nfnetlink_queue is missing.
            DatapathError: A setting is not possible, or the kernel refuses it.
        """
        settings = settings or QueueSettings()
        settings.check()
        _check_number(queue_number)
        try:
            sock = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        except OSError as error:
            raise _refusal(error.errno or 0, queue_number, "open a socket for") from error
        try:
            # Connected to the kernel: no other process can put messages into this socket.
            sock.bind((0, 0))
            sock.connect((0, 0))
            # Reported overruns would also hold back every packet until the socket ran empty;
            # the kernel's own counters tell what was lost.
            sock.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
            _grow(sock, settings)
            queue = cls(sock, queue_number, settings)
            queue._configure()
        except BaseException:
            sock.close()
            raise
        return queue

    @classmethod
    def from_socket(
        cls, descriptor: int, queue_number: int, settings: QueueSettings | None = None
    ) -> Self:
        """Take over a socket that holds the queue already; the descriptor is owned from now on.

        Args:
            descriptor: The open socket, as inherited or received from another process.
            queue_number: The queue that the socket holds.
            settings: How the queue was configured; the kernel is not asked again.

        Raises:
            DatapathError: The descriptor is no netfilter netlink socket.
        """
        settings = settings or QueueSettings()
        settings.check()
        _check_number(queue_number)
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise DatapathError(f"descriptor {descriptor} is no socket: {error}") from error
        if sock.family != socket.AF_NETLINK or sock.proto != _NETLINK_NETFILTER:
            sock.detach()
            raise DatapathError(
                f"descriptor {descriptor} is no netfilter netlink socket:"
                " hand over the socket that holds the queue"
            )
        return cls(sock, queue_number, settings)

    def fileno(self) -> int:
        """Give the descriptor, to wait on."""
        return self._socket.fileno()

    def send(self, messages: bytes) -> None:
        """Hand verdicts to the kernel; they are carried out before this returns."""
        self._socket.send(messages)

    def first_waiting(self) -> int | None:
        """Look at the packet that would be received next; what is none is read and forgotten.

        Returns:
            Its id, None when no packet waits in the socket.

        Raises:
            OSError: The socket is of no use any more.
        """
        for _ in range(_MAX_WAITING):
            try:
                message = self._socket.recv(_MAX_ANSWER, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            try:
                found = parse_message(message)
            except MessageError:
                pass
            else:
                if not isinstance(found, ErrorMessage):
                    return found.packet_id
            self._socket.recv(_MAX_ANSWER, socket.MSG_DONTWAIT)
        return None

    def settle(self, number: Verdict, last_id: int) -> None:
        """Give a verdict to every packet that was received before us and did not get one.

        Args:
            number: The verdict: REPEAT lets the kernel queue them again, under new ids.
            last_id: The highest id that the queue has given, or more: it counts when no packet
                waits in the socket.

        Raises:
            OSError: The socket is of no use any more.
        """
        first = self.first_waiting()
        last = last_id if first is None else first - 1
        self.send(batch_verdict(self.queue_number, last & 0xFFFFFFFF, number))

    def detach(self) -> int:
        """Let go of the socket without closing it, so that the queue stays bound."""
        return self._socket.detach()

    def close(self) -> None:
        """Unbind the queue and close the socket; waiting packets are dropped.

        In a process that was forked meanwhile, the queue is left to the one that opened it.
        """
        if self._socket.fileno() < 0:
            return
        try:
            if os.getpid() == self._owner:
                self._socket.send(unbind_message(self.queue_number, self._next_sequence()))
        except OSError:
            pass  # closing unbinds as well
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _configure(self) -> None:
        number, settings = self.queue_number, self.settings
        wanted = QueueFlag(0)
        if settings.fail_open:
            wanted |= QueueFlag.FAIL_OPEN
        if settings.gso:
            wanted |= QueueFlag.GSO
        if settings.uid_gid:
            wanted |= QueueFlag.UID_GID
        mask = QueueFlag.FAIL_OPEN | QueueFlag.GSO | QueueFlag.UID_GID
        self._ask(bind_message(number, self._next_sequence()), "bind")
        # The length goes first: packets flow as soon as copying is on.
        self._ask(
            max_length_message(number, self._next_sequence(), settings.max_length),
            "set the length of",
        )
        self._ask(flags_message(number, self._next_sequence(), wanted, mask), "set the flags of")
        self._ask(
            copy_message(number, self._next_sequence(), settings.copy_range),
            "set the copy range of",
        )

    def _ask(self, message: bytes, purpose: str) -> None:
        try:
            self._socket.send(message)
            for _ in range(_MAX_WAITING):
                message = self._socket.recv(_MAX_ANSWER)
                try:
                    answer = parse_message(message)
                except MessageError:
                    continue
                if isinstance(answer, ErrorMessage):
                    if answer.sequence == self._sequence:
                        break
                else:
                    self.early.append(message)
            else:
                raise DatapathError(
                    f"the kernel does not answer when asked to {purpose} queue {self.queue_number}"
                )
        except OSError as error:
            raise _refusal(error.errno or 0, self.queue_number, purpose) from error
        if answer.errno:
            raise _refusal(answer.errno, self.queue_number, purpose)


def _check_number(queue_number: int) -> None:
    if not 0 <= queue_number <= _MAX_QUEUE_NUMBER:
        raise DatapathError(f"queue number {queue_number} is not possible: choose 0 to 65535")


def _grow(sock: socket.socket, settings: QueueSettings) -> None:
    """Ask for a buffer that holds a full queue, beyond the system's limit if we may."""
    size = settings.receive_buffer_bytes
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def has_net_admin() -> bool:
    """Tell whether this thread has CAP_NET_ADMIN."""
    try:
        status = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return os.geteuid() == 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def _refusal(number: int, queue_number: int, purpose: str) -> DatapathError:
    """Turn an error number of the kernel into words and a remedy."""
    if number in {errno.EPERM, errno.EACCES, errno.EBUSY}:
        held = read_statistics().get(queue_number)
        if held is not None:
            return QueueBusyError(queue_number, holder_of(held.port_id))
        if number == errno.EBUSY or has_net_admin():
            return PrivilegeError(
                f"cannot {purpose} queue {queue_number}: {os.strerror(number)}. Another program may"
                " hold the queue, or this network namespace belongs to another user namespace:"
                " run as root of the namespace, or choose another queue number"
            )
        return PrivilegeError(
            f"cannot {purpose} queue {queue_number}: CAP_NET_ADMIN is missing."
            " Run as root, or give the program that capability"
        )
    if number in {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENOPROTOOPT}:
        return PrivilegeError(
            f"cannot {purpose} queue {queue_number}: the kernel has no packet queues"
            f" ({os.strerror(number)}). Load the module: modprobe nfnetlink_queue"
        )
    return DatapathError(f"cannot {purpose} queue {queue_number}: {os.strerror(number)}")
