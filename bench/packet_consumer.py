"""One consumer of queue 7: prints its CPU microseconds per packet, and ends.

``accept`` is NetfilterQueue with a callback that accepts; ``engine`` is the netlink backend with
the engine behind it, a policy of 1,002 rules, and every record made.
"""

from __future__ import annotations

import gc
import resource
import select
import sys
import time

QUEUE = 7
WARM_UP = 40_000
PACKETS = 300_000
MAX_LENGTH = 8_192


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Meter:
    """Counts packets and gives the figure when there were enough."""

    def __init__(self) -> None:
        self.seen = 0
        self.begin = -1
        self.cpu = 0.0

    def add(self, packets: int) -> bool:
        """Count; True when it is done."""
        self.seen += packets
        if self.begin < 0 and self.seen >= WARM_UP:
            self.begin, self.cpu = self.seen, _cpu()
        return self.begin >= 0 and self.seen >= self.begin + PACKETS

    def figure(self) -> float:
        """Give CPU microseconds per packet."""
        return (_cpu() - self.cpu) / (self.seen - self.begin) * 1e6


def _accept() -> float:
    from netfilterqueue import NetfilterQueue

    meter = _Meter()
    count = 0

    def callback(packet: object) -> None:
        nonlocal count
        count += 1
        packet.accept()  # type: ignore[attr-defined]  # the package has no types

    queue = NetfilterQueue()
    queue.bind(QUEUE, callback, max_len=MAX_LENGTH, range=128, sock_len=32 << 20)
    poll = select.epoll()
    poll.register(queue.get_fd(), select.EPOLLIN)
    gc.freeze()
    while True:
        poll.poll()
        count = 0
        queue.run(block=False)
        if meter.add(count):
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
    poll = select.epoll()
    poll.register(backend.fileno(), select.EPOLLIN)
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    meter = _Meter()
    counters = backend.counters
    records = 0
    while True:
        poll.poll()
        now = time.time_ns()
        before = counters["packets"]
        records += len(backend.drain(now))
        records += len(engine.take_records(now))
        if meter.add(counters["packets"] - before):
            return meter.figure()


if __name__ == "__main__":
    print({"accept": _accept, "engine": _engine}[sys.argv[1]]())
