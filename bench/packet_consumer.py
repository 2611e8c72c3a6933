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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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


def _measure(descriptor: int, drain: Callable[[], int]) -> float:
    """Give CPU microseconds per packet; `drain` takes what waits and says how many it was."""
    poll = select.epoll()
    poll.register(descriptor, select.EPOLLIN)
    gc.freeze()
    seen = 0
    begin, cpu = 0, 0.0
    while not begin or seen < begin + PACKETS:
        if not begin and seen >= WARM_UP:
            begin, cpu = seen, _cpu()
        time.sleep(FILL_SECONDS)
        end = seen + BURST
        while seen < end:
            poll.poll()
            seen += drain()
    return (_cpu() - cpu) / (seen - begin) * 1e6


def _accept() -> float:
    from netfilterqueue import NetfilterQueue

    count = 0

    def callback(packet: object) -> None:
        nonlocal count
        count += 1
        packet.accept()  # type: ignore[attr-defined]  # the package has no types

    queue = NetfilterQueue()
    queue.bind(QUEUE, callback, max_len=MAX_LENGTH, range=128, sock_len=32 << 20)

    def drain() -> int:
        before = count
        queue.run(block=False)
        return count - before

    return _measure(queue.get_fd(), drain)


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
    gc.set_threshold(100_000, 50, 1000)
    counters = backend.counters
    records = 0

    def drain() -> int:
        nonlocal records
        now = time.time_ns()
        before = counters["packets"]
        records += len(backend.drain(now))
        records += len(engine.take_records(now))
        return counters["packets"] - before

    return _measure(backend.fileno(), drain)


if __name__ == "__main__":
    print({"accept": _accept, "engine": _engine}[sys.argv[1]]())
