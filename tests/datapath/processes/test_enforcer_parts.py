"""What an enforcer is put together from is what the supervisor told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from tests.datapath.backends.netlink_messages import FakeKernel, packet_message
from tests.datapath.backends.test_netlink import NOW, POLICY, datagram
from tests.datapath.processes.test_staff import setup
from trireme_collector.records import FlowRecord
from trireme_datapath.backends.netlink import MAX_BATCHES, OPENING_BATCHES, NetlinkBackend
from trireme_datapath.backends.paced import PacedBackend
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.processes._enforcer_messages import AccountingSetup
from trireme_datapath.processes._enforcer_parts import (
    build_backends,
    build_engine,
    build_follower,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.backends.netlink import NetlinkQueue

SETUP = setup(compile_policy(parse_policy(POLICY, "p.toml")))
ACCOUNTING = AccountingSetup(
    mark_mask=0,
    list_seconds=30.0,
    event_buffer_bytes=65_536,
    reliable=False,
    update_seconds=0.0,
    max_evicted=16,
)


class Slot:
    """Two queues, and a kernel that plays them."""

    def __init__(self) -> None:
        self.kernels = FakeKernel(), FakeKernel()
        self.queues = [cast("NetlinkQueue", kernel) for kernel in self.kernels]

    def close(self) -> None:
        for kernel in self.kernels:
            kernel.close()


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.close()


@pytest.mark.parametrize(("place", "most"), [(0, MAX_BATCHES), (1, OPENING_BATCHES)])
def test_the_second_queue_keeps_the_first_one_waiting_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, slot: Slot, place: int, most: int
) -> None:
    monkeypatch.setattr("trireme_datapath.backends.netlink._SLOTS", 1)  # a packet is a batch
    engine = build_engine(SETUP)
    slot.kernels[place].queue([packet_message(one, datagram()) for one in range(1, 20)])
    build_backends(SETUP, slot.queues, engine)[place].drain(NOW)
    assert engine.counters["packets"] == most


def test_only_packets_that_open_connections_are_paced(slot: Slot) -> None:
    paced = replace(SETUP, opening_rate=100)
    engine = build_engine(paced)
    first, second = build_backends(paced, slot.queues, engine)
    assert isinstance(first, NetlinkBackend)
    assert isinstance(second, PacedBackend)
    second.close()
    first, second = build_backends(SETUP, slot.queues, engine)
    assert isinstance(first, NetlinkBackend)
    assert isinstance(second, NetlinkBackend)


@pytest.mark.parametrize("accountant", [False, True])
def test_packets_of_accepted_flows_are_told_by_one_alone(slot: Slot, accountant: bool) -> None:
    engine = build_engine(replace(SETUP, accounting=ACCOUNTING, accountant=accountant))
    slot.kernels[0].queue([packet_message(1, datagram())])
    records = build_backends(SETUP, slot.queues, engine)[0].drain(NOW)
    records += engine.take_last_records(NOW)
    (flow,) = [one for one in records if isinstance(one, FlowRecord)]
    assert flow.packets == (UNSET if accountant else 1)


def test_nobody_follows_connections_that_are_not_counted() -> None:
    assert build_follower(SETUP, build_engine(SETUP)) is None
