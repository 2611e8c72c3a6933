"""What sending a flow record costs, over each transport of the syslog collector.

Another process reads and throws away, so the processor time is the sender's alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trustme

from bench.figures import interleave, show
from bench.pipeline import make_records
from trireme_collector_syslog import SyslogCollector, SyslogOptions
from trireme_collector_syslog._relp_frames import FrameReader, render_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_collector import FlowRecord

RUNS = 5
RECORDS = 20_000
BATCH = 500
# Rendering takes most of it; the rest is to stay small beside that.
TARGET_MICROSECONDS = 20.0
_FORK = multiprocessing.get_context("fork")
_OFFERS = b"200 OK\nrelp_version=0\nrelp_software=bench\ncommands=syslog"


def _discard(listener: socket.socket, secure: Callable[[socket.socket], socket.socket]) -> None:
    if listener.type == socket.SOCK_DGRAM:
        while True:
            listener.recv(70_000)
    while True:
        with contextlib.suppress(OSError):
            connection = secure(listener.accept()[0])
            while connection.recv(1_000_000):
                pass
            connection.close()


def _acknowledge(
    listener: socket.socket, _secure: Callable[[socket.socket], socket.socket]
) -> None:
    while True:
        connection, _ = listener.accept()
        reader = FrameReader()
        while data := connection.recv(1_000_000):
            answers = {"open": _OFFERS, "close": b""}
            connection.sendall(
                b"".join(
                    render_frame(frame.number, "rsp", answers.get(frame.command, b"200 OK"))
                    for frame in reader.feed(data)
                )
            )
        connection.close()


@contextlib.contextmanager
def _receiver(
    listener: socket.socket,
    target: Callable[[socket.socket, Callable[[socket.socket], socket.socket]], None],
    secure: Callable[[socket.socket], socket.socket] = lambda connection: connection,
) -> Iterator[None]:
    process = _FORK.Process(target=target, args=(listener, secure), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
        listener.close()


@contextlib.contextmanager
def open_receivers() -> Iterator[dict[str, dict[str, object]]]:
    """Start a receiver for each transport; give the options that send there, by transport."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        datagram.bind(str(directory / "datagram"))
        stream = socket.socket(socket.AF_UNIX)
        stream.bind(str(directory / "stream"))
        stream.listen()
        tcp, tls, relp = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
        ports = [listener.getsockname()[1] for listener in (tcp, tls, relp)]
        for listener in (datagram, stream, tcp):
            stack.enter_context(_receiver(listener, _discard))
        stack.enter_context(
            _receiver(tls, _discard, lambda raw: context.wrap_socket(raw, server_side=True))
        )
        stack.enter_context(_receiver(relp, _acknowledge))
        yield {
            "unix datagram": {"address": str(directory / "datagram")},
            "unix stream": {"address": str(directory / "stream")},
            "tcp": {"transport": "tcp", "port": ports[0]},
            "tls": {"transport": "tls", "port": ports[1], "ca_file": str(directory / "ca.pem")},
            "relp": {"transport": "relp", "port": ports[2]},
        }


def open_collector(options: dict[str, object]) -> SyslogCollector:
    """Make a collector that does not wait for a refusal: here nobody refuses."""
    config = msgspec.convert({"settle_seconds": 0, **options}, SyslogOptions)
    return SyslogCollector(config, name="bench")


def _sender(
    records: list[FlowRecord], options: dict[str, object], stack: contextlib.ExitStack
) -> Callable[[], float]:
    collector = open_collector(options)
    stack.callback(collector.close)

    def run() -> float:
        begin = time.process_time()
        for start in range(0, len(records), BATCH):
            collector.deliver(records[start : start + BATCH])
        return (time.process_time() - begin) / len(records) * 1e6

    return run


def run() -> bool:
    """Measure the processor time a record, and how many go in a second."""
    records = make_records()[:RECORDS]
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(open_receivers())
        contenders = {name: _sender(records, options, stack) for name, options in table.items()}
        wall: dict[str, list[float]] = {name: [] for name in table}

        def timed(name: str) -> float:
            begin = time.monotonic()
            cost = contenders[name]()
            wall[name].append(len(records) / (time.monotonic() - begin) / 1000)
            return cost

        figures = interleave(
            RUNS,
            {name: (lambda name=name: timed(name)) for name in table},  # type: ignore[misc]  # bound at once
        )
    worst = 0.0
    for name in table:
        worst = max(worst, show(f"{name}, processor time a record", figures[name], "us"))
        show(f"{name}, thousand records a second", wall[name], "k/s")
    return worst <= TARGET_MICROSECONDS
