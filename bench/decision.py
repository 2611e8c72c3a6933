"""Does a decision cost more when the policy is large: 10 rules against 10,000 and 100,000 CIDRs.

Each packet opens a flow of a client address and server port that were not seen before, so nothing
is remembered: from the datagram to the engine's `Decision`, record included. The look-up in the
policy alone is shown beside it: the number of its steps does not grow with the policy, but a
small policy stays in the processor's cache and a large one does not.
"""

from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

from bench.figures import interleave, show, show_ratio
from trireme_datapath.engine import Engine
from trireme_datapath.packets import QueuedPacket
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from trireme_datapath.policy import CompiledPolicy

HEADER = struct.Struct("!BBHHHBBH4s4sHH")
TRANSPORT = struct.pack("!IIHHHH", 0, 0, 0x5002, 1024, 0, 0)
SERVER = bytes((192, 168, 0, 2))
RUNS = 7
DECISIONS = 50_000
TARGET = 2.0


def _policy(rules: int, cidrs: int) -> CompiledPolicy:
    """Make a policy whose rules each name a network of its own, of random prefixes."""
    chooser = random.Random(rules)
    names = [f"n{number}" for number in range(rules)]
    lines = ["version = 1", "[networks]"]
    for name in names:
        prefixes: set[str] = set()
        while len(prefixes) < cidrs // rules:
            length = chooser.choice((16, 20, 24, 28, 32))
            address = chooser.getrandbits(32) >> (32 - length) << (32 - length)
            prefixes.add(f"{'.'.join(str(b) for b in address.to_bytes(4))}/{length}")
        quoted = ", ".join(f'"{prefix}"' for prefix in sorted(prefixes))
        lines.append(f"{name} = [{quoted}]")
    lines += ["[[unit]]", 'id = "u"', 'select = { address = "192.168.0.2" }']
    for number, name in enumerate(names):
        action = "reject" if number % 5 == 0 else "accept"
        port = chooser.randrange(1, 60_000)
        lines += [
            "[[unit.ingress]]",
            f'id = "r{number}"',
            f'action = "{action}"',
            f'from = "@{name}"',
            'protocol = "tcp"',
            f'ports = [{port}, "{port + 100}-{port + 2000}"]',
        ]
    return compile_policy(parse_policy("\n".join(lines)))


def _questions(seed: int) -> list[tuple[bytes, int]]:
    chooser = random.Random(seed)
    return [(chooser.randbytes(4), chooser.randrange(65_536)) for _ in range(DECISIONS)]


def _look_up(policy: CompiledPolicy, seed: int) -> float:
    """Give the CPU microseconds of one look-up in the policy."""
    questions = _questions(seed)
    table = policy.units[0].ingress
    begin = time.process_time()
    for address, port in questions:
        table.candidates(address, policy.peer_for(address)).decide(6, port, -1, 0)
    return (time.process_time() - begin) / DECISIONS * 1e6


def _decide(policy: CompiledPolicy, seed: int) -> float:
    """Give the CPU microseconds from a SYN to its decision."""
    engine = Engine(policy)
    packets = [
        QueuedPacket(
            data=HEADER.pack(0x45, 0, 40, 0, 0, 64, 6, 0, address, SERVER, 999, port) + TRANSPORT
        )
        for address, port in _questions(seed)
    ]
    begin = time.process_time()
    for packet in packets:
        engine.receive(packet, 1)
    return (time.process_time() - begin) / DECISIONS * 1e6


def run() -> bool:
    """Compare the small and the large policy."""
    small = _policy(10, 100)
    begin = time.process_time()
    large = _policy(10_000, 100_000)
    print(f"  loading and compiling 10,000 rules took {time.process_time() - begin:.1f} s of CPU")
    seeds = iter(range(1_000_000))
    seeds = iter(range(1_000_000))
    figures = interleave(
        RUNS,
        {
            "small": lambda: _decide(small, next(seeds)),
            "large": lambda: _decide(large, next(seeds)),
            "small look-up": lambda: _look_up(small, next(seeds)),
            "large look-up": lambda: _look_up(large, next(seeds)),
        },
    )
    small_look_up = show("look-up, 10 rules, 100 CIDRs", figures["small look-up"], "us")
    large_look_up = show("look-up, 10,000 rules, 100,000 CIDRs", figures["large look-up"], "us")
    print(f"  look-up alone, large / small: {large_look_up / small_look_up:.1f} x")
    low = show("decision, 10 rules, 100 CIDRs", figures["small"], "us")
    high = show("decision, 10,000 rules, 100,000 CIDRs", figures["large"], "us")
    return show_ratio("decision, large / small", high / low, TARGET)
