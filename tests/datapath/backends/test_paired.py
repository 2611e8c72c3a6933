"""Two queues as one: the one that matters first, then a share of the other."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, cast

from tests.datapath.backends.netlink_messages import FakeKernel, packet_message
from tests.datapath.backends.test_netlink import NOW, POLICY, datagram
from trireme_datapath.backends._queue_statistics import QueueStatistics
from trireme_datapath.backends.netlink import NetlinkBackend, NetlinkQueue
from trireme_datapath.backends.paired import PairedBackend
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    import pytest


class Statistics(NetlinkBackend):
    """A backend with counters of the kernel."""

    found: QueueStatistics | None = None

    def statistics(self) -> QueueStatistics | None:
        return self.found


def statistics(number: int, waiting: int) -> QueueStatistics:
    return QueueStatistics(
        queue_number=number,
        port_id=1,
        waiting=waiting,
        copy_mode=2,
        copy_range=128,
        dropped=2,
        user_dropped=3,
        last_packet_id=100,
    )


def test_both_are_judged_and_the_second_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trireme_datapath.backends.netlink._SLOTS", 16)
    engine = Engine(compile_policy(parse_policy(POLICY, "p.toml")))
    kernels = FakeKernel(), FakeKernel()
    first, second = (
        Statistics(cast("NetlinkQueue", kernel), engine, max_batches=most)
        for kernel, most in zip(kernels, (32, 1), strict=True)
    )
    pair = PairedBackend(first, second)
    assert pair.drain(NOW) == []
    assert select.select([pair.fileno()], [], [], 0)[0] == []
    for kernel in kernels:
        kernel.queue([packet_message(one, datagram()) for one in range(1, 25)])
    assert select.select([pair.fileno()], [], [], 0)[0] == [pair.fileno()]
    pair.drain(NOW)
    assert [len(kernel.waiting) for kernel in kernels] == [0, 8]
    pair.drain(NOW)
    assert not kernels[1].waiting
    assert pair.statistics() is None
    second.found = statistics(8, 1)
    assert pair.statistics() == second.found
    first.found = statistics(7, 4)
    total = pair.statistics()
    assert total is not None
    assert (total.queue_number, total.waiting, total.dropped, total.user_dropped) == (7, 5, 4, 6)
    assert total.last_packet_id == 200
    pair.close()
