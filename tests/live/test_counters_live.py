"""Counter reports beside the kernel's own numbers."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, QUEUE, SERVER, Enforcer, Lab, wait_for
from trireme_collector.records import CounterReport
from trireme_datapath.backends._queue_statistics import read_statistics
from trireme_datapath.backends.netlink import QueueSettings
from trireme_datapath.counters import queue_totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.engine import Engine

pytestmark = pytest.mark.live

FLOOD = 4_000


def test_the_reports_have_the_numbers_of_the_kernel(
    lab: Lab, enforce: Callable[..., Enforcer]
) -> None:
    def report(engine: Engine) -> None:
        engine.report_counters(
            lambda: queue_totals(read_statistics().get(QUEUE), engine.counters["packets"]),
            interval_seconds=0.2,
        )

    enforcer = enforce("netlink", settings=QueueSettings(max_length=4), prepare=report)
    assert lab.connect(4, ALLOWED) == "refused"  # nobody listens, which the packets reached
    sender = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    sender.bind((CLIENT[4], 0))
    for number in range(FLOOD):
        sender.sendto(b"flood", (SERVER[4], DENIED + number % 100))
    assert wait_for(lambda: enforcer.waiting() == 0)
    kernel = lab.server.call(enforcer.backend.statistics)
    assert kernel is not None
    assert kernel.dropped > 0

    def told(context_id: str = "") -> Counter[str]:
        total: Counter[str] = Counter()
        for one in list(enforcer.collector.records):
            if isinstance(one, CounterReport) and one.context_id == context_id:
                total.update({counter.name: counter.value for counter in one.counters})
        return total

    everything = kernel.last_packet_id + kernel.dropped
    assert wait_for(lambda: told()["queue_received"] == everything), (told(), kernel)
    total = told()
    assert total["queue_dropped_full"] == kernel.dropped
    assert total["queue_dropped_socket"] == kernel.user_dropped
    assert total["queue_unjudged"] == 0
    assert total["packets"] == enforcer.engine.counters["packets"]
    assert total["packets"] + kernel.dropped + kernel.user_dropped == everything
    # The unit behind the flood has its own count of what was kept from it.
    denied = enforcer.engine.counters["packets_denied"]
    assert total["REJECTEDPACKET"] == denied > 0
    assert wait_for(lambda: told("ctx-server")["REJECTEDPACKET"] == denied), told("ctx-server")
