"""One consumer of queue 7: prints its CPU microseconds per packet, and ends.

``accept`` is NetfilterQueue with a callback that accepts; ``engine`` is the netlink backend with
the engine behind it, a policy of 1,002 rules, and every record made.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import select
import sys
import time

QUEUE = 7
WARM_UP = 40_000
PACKETS = 300_000
MAX_LENGTH = 8_192
# A consumer that is faster than the sender would find a packet or two at a time, and what it is
# to be measured is a flood: the queue fills up, and is emptied, and fills up again.
FILL_SECONDS = 0.03
BURST = 8_000


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Meter:
    """Says how long to go on, and gives the figure in the end."""

    def __init__(self) -> None:
        self.seen = 0
        self.end = self._begin = 0
        self._cpu = 0.0

    @property
    def burst_over(self) -> bool:
        """Whether the queue was emptied."""
        return self.seen >= self.end

    def fill(self) -> bool:
        """Let the queue fill up; False when enough was seen."""
        if not self._begin and self.seen >= WARM_UP:
            self._begin, self._cpu = self.seen, _cpu()
        if self._begin and self.seen >= self._begin + PACKETS:
            return False
        time.sleep(FILL_SECONDS)
        self.end = self.seen + BURST
        return True

    def figure(self) -> float:
        """Give CPU microseconds per packet."""
        return (_cpu() - self._cpu) / (self.seen - self._begin) * 1e6


class _BurstOverError(Exception):
    """Ends `NetfilterQueue.run`, which goes on for as long as packets come."""


def _poll(descriptor: int) -> select.epoll:
    poll = select.epoll()
    poll.register(descriptor, select.EPOLLIN)
    gc.freeze()
    return poll


def _accept() -> float:
    from netfilterqueue import NetfilterQueue

    meter = _Meter()

    def callback(packet: object) -> None:
        meter.seen += 1
        packet.accept()  # type: ignore[attr-defined]  # the package has no types
        if 0 < meter.end <= meter.seen:  # a packet may come while it binds, before any burst
            raise _BurstOverError

    queue = NetfilterQueue()
    queue.bind(QUEUE, callback, max_len=MAX_LENGTH, range=128, sock_len=32 << 20)
    poll = _poll(queue.get_fd())
    while meter.fill():
        while not meter.burst_over:
            poll.poll()
            with contextlib.suppress(_BurstOverError):
                queue.run(block=False)
    return meter.figure()


def _policy_text() -> str:
    lines = ["version = 1", "[[unit]]", 'id = "judge"', 'tags = ["app=judge"]']
    lines += ['select = { address = "10.77.0.2" }']

    def rule(name: str, action: str, source: str, ports: str) -> None:
        lines.extend(
            (
                "[[unit.ingress]]",
                f'id = "{name}"',
                f'action = "{action}"',
                f'from = "{source}"',
                'protocol = "udp"',
                f"ports = [{ports}]",
            )
        )

    for number in range(1000):
        source = f"172.{16 + (number >> 8)}.{number & 255}.0/24"
        rule(f"r{number}", "accept", source, str(number + 1))
    rule("low", "reject", "10.0.0.0/8", '"1-1023"')
    rule("all", "accept", "10.0.0.0/8", '"1024-65535"')
    return "\n".join(lines)


def _engine() -> float:
    from trireme_datapath.backends.netlink import NetlinkBackend, QueueSettings
    from trireme_datapath.engine import Engine
    from trireme_datapath.policy import compile_policy, parse_policy

    engine = Engine(compile_policy(parse_policy(_policy_text())))
    backend = NetlinkBackend.open(QUEUE, engine, QueueSettings(max_length=MAX_LENGTH))
    meter = _Meter()
    poll = _poll(backend.fileno())
    gc.set_threshold(100_000, 50, 1000)
    counters = backend.counters
    records = 0
    while meter.fill():
        while not meter.burst_over:
            poll.poll()
            now = time.time_ns()
            before = counters["packets"]
            records += len(backend.drain(now))
            records += len(engine.take_records(now))
            meter.seen += counters["packets"] - before
    return meter.figure()


if __name__ == "__main__":
    print({"accept": _accept, "engine": _engine}[sys.argv[1]]())
