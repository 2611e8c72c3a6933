"""Clients and servers, each a process of its own: ``agent_traffic NAME ARGUMENT...``.

Each says ``ready`` when it is. A server goes on until it is ended. A client begins with each line
of its input, and prints what it saw as a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import statistics
import sys
import time
from typing import Final

from bench.agent_lab import PORT, SERVER

_REQUEST: Final = b"GET / HTTP/1.0\r\nHost: bench\r\n\r\n"
_ANSWER: Final = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
_FIRST_PORT: Final = 10_000
_PORTS: Final = 50_000
_IN_FLIGHT: Final = 256
_BULK: Final = 1 << 20
_PATIENCE_SECONDS: Final = 5.0


def _ready() -> None:
    print("ready", flush=True)


def _tell(**seen: float) -> None:
    print(json.dumps(seen), flush=True)


def _listen(port: int = PORT) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVER, port))
    listener.listen(4096)
    return listener


def answer() -> None:
    """Answer one request on each connection, and close it."""
    listener = _listen()
    # Only what has sent its request is accepted: one turn for each connection.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    _ready()
    while True:
        served, _ = listener.accept()
        served.settimeout(_PATIENCE_SECONDS)
        with contextlib.suppress(OSError):  # the client is gone
            served.recv(1000)
            served.send(_ANSWER)
        served.close()


def connect(clients: str, rate: str, count: str) -> None:
    """Open connections at a steady pace, one request on each; no port is used twice."""
    addresses = [f"10.77.{n >> 8}.{n & 255}" for n in range(1, int(clients) + 1)]
    wanted, pace = int(count), float(rate)
    epoll = select.epoll()
    open_ones: dict[int, socket.socket] = {}
    opened = closed = failed = 0
    _ready()
    sys.stdin.readline()
    began = time.monotonic()
    while closed < wanted:
        due = min(wanted, int((time.monotonic() - began) * pace) + 1)
        while opened < due and len(open_ones) < _IN_FLIGHT:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            place, offset = opened % len(addresses), opened // len(addresses)
            client.bind((addresses[place], _FIRST_PORT + offset % _PORTS))
            client.connect_ex((SERVER, PORT))
            open_ones[client.fileno()] = client
            epoll.register(client.fileno(), select.EPOLLOUT)
            opened += 1
        for descriptor, event in epoll.poll(0.001):
            client = open_ones[descriptor]
            try:
                if event == select.EPOLLOUT:
                    client.send(_REQUEST)
                    epoll.modify(descriptor, select.EPOLLIN)
                    continue
                failed += client.recv(1000) != _ANSWER
            except OSError:
                failed += 1
            client.close()
            del open_ones[descriptor]
            closed += 1
    _tell(seconds=time.monotonic() - began, failed=failed)


def take() -> None:
    """Take whatever comes on one connection after the other."""
    listener = _listen()
    buffer = bytearray(_BULK)
    _ready()
    while True:
        served, _ = listener.accept()
        with served, contextlib.suppress(OSError):
            while served.recv_into(buffer):
                pass


def give() -> None:
    """Send as much as one connection takes.

    A line of the input says for how many seconds, and by which congestion control.
    """
    data = bytes(_BULK)
    _ready()
    for line in sys.stdin:
        seconds, congestion = line.split()
        with socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
            client.connect((SERVER, PORT))
            sent, began = 0, time.monotonic()
            end = began + float(seconds)
            while (now := time.monotonic()) < end:
                sent += client.send(data)
            _tell(rate=sent / (now - began))


def echo() -> None:
    """Answer datagrams, and one TCP connection after the other, with what came."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((SERVER, PORT))
    listener = _listen()
    epoll = select.epoll()
    connections: dict[int, socket.socket] = {}
    for one in (datagrams, listener):
        epoll.register(one.fileno(), select.EPOLLIN)
    _ready()
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == datagrams.fileno():
                data, peer = datagrams.recvfrom(2000)
                datagrams.sendto(data, peer)
            elif descriptor == listener.fileno():
                served, _ = listener.accept()
                served.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[served.fileno()] = served
                epoll.register(served.fileno(), select.EPOLLIN)
            else:
                served = connections[descriptor]
                data = served.recv(2000)
                if data:
                    served.send(data)
                else:
                    del connections[descriptor]
                    served.close()


def ask(protocol: str) -> None:
    """Ask an echo, again and again; a line of the input says for how many seconds."""
    kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[protocol]
    client = socket.socket(socket.AF_INET, kind)
    client.settimeout(_PATIENCE_SECONDS)
    client.connect((SERVER, PORT))
    if protocol == "tcp":
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    question = b"question in some bytes".ljust(64)
    client.send(question)
    client.recv(2000)
    _ready()
    clock = time.perf_counter
    for line in sys.stdin:
        times: list[float] = []
        began = last = clock()
        end = began + float(line)
        while last < end:
            client.send(question)
            client.recv(2000)
            now = clock()
            times.append(now - last)
            last = now
        _tell(
            rate=len(times) / (last - began),
            p99_us=statistics.quantiles(times, n=100)[98] * 1e6,
        )


if __name__ == "__main__":
    {one.__name__: one for one in (answer, connect, take, give, echo, ask)}[sys.argv[1]](
        *sys.argv[2:]
    )
