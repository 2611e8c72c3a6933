"""What a service tells systemd, word for word."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.processes._notify import ServiceNotifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(2)
        yield sock


def test_it_says_what_sd_notify_would(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "PATH": "/bin"}
    notifier = ServiceNotifier(environment)
    assert environment == {"PATH": "/bin"}
    notifier.ready("1 judge")
    assert manager.recv(1000) == b"READY=1\nSTATUS=1 judge"
    notifier.reloading()
    first, second = manager.recv(1000).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=")
    assert int(second.partition(b"=")[2]) > 0
    notifier.alive()
    assert manager.recv(1000) == b"WATCHDOG=1"
    notifier.extend(1.5)
    assert manager.recv(1000) == b"EXTEND_TIMEOUT_USEC=1500000"
    notifier.stopping("delivers")
    assert manager.recv(1000) == b"STOPPING=1\nSTATUS=delivers"


def test_an_abstract_socket_is_reached() -> None:
    name = f"trireme-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(2)
        ServiceNotifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nobody/listens/here", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = ServiceNotifier({"NOTIFY_SOCKET": address})
    notifier.ready("nobody hears it")
    assert notifier.watchdog_seconds == 0


@pytest.mark.parametrize(
    ("whose", "microseconds", "seconds"),
    [("7", "30000000", 15.0), ("", "30000000", 15.0), ("8", "30000000", 0.0), ("7", "soon", 0.0)],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    whose: str, microseconds: str, seconds: float
) -> None:
    environment = {"WATCHDOG_PID": whose, "WATCHDOG_USEC": microseconds}
    assert ServiceNotifier(environment, pid=7).watchdog_seconds == seconds


def test_another_program_in_the_same_process_goes_on() -> None:
    first = ServiceNotifier({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000"}, pid=7)
    second = ServiceNotifier(first.variables(), pid=7)
    assert second.variables() == first.variables()
    assert second.watchdog_seconds == 2.0


def test_a_file_that_was_opened_for_us_is_found_by_its_name() -> None:
    descriptors = {"LISTEN_FDS": "2", "LISTEN_PID": "7", "LISTEN_FDNAMES": "other:queues"}
    notifier = ServiceNotifier(dict(descriptors), pid=8)
    assert notifier.passed("queues") == -1
    assert ServiceNotifier({**descriptors, "LISTEN_FDS": "x"}, pid=7).passed("queues") == -1
    assert ServiceNotifier(dict(descriptors), pid=7).passed("nothing") == -1


def test_a_loop_that_turns_lives(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "4000000"}
    notifier = ServiceNotifier(environment)
    second_ns = 1_000_000_000
    for now_ns in (7 * second_ns, 8 * second_ns, 9 * second_ns - 1, 9 * second_ns):
        notifier.turned(now_ns)
    manager.settimeout(0)
    assert [manager.recv(1000), manager.recv(1000)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        manager.recv(1000)
