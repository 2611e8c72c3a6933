"""A datapath of one's own on a real queue: in a thread, in an event loop, and under reloads."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, POLICY, QUEUE, SERVER, Lab, wait_for
from trireme_collector import Pipeline
from trireme_collector.records import FlowRecord
from trireme_collector.testing import MemoryCollector
from trireme_datapath.backends.netlink import NetlinkBackend
from trireme_datapath.datapath import Datapath
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.kernel.rules import QueueMode, QueueRules, RuleHook
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.record_stream import RecordStream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

RELOADS = 300
RELOADS_PER_SECOND = 100


@pytest.fixture
def datapath(lab: Lab) -> Iterator[Datapath]:
    made = Datapath(parse_policy(POLICY), lambda engine: NetlinkBackend.open(QUEUE, engine))
    lab.server.call(made.open)
    rules = QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT,), mode=QueueMode.ALL)
    lab.server.call(KernelRules(rules).install)
    with made:
        yield made


def test_it_judges_in_a_thread_beside_a_pipeline(lab: Lab, datapath: Datapath) -> None:
    collector = MemoryCollector()
    with Pipeline([collector]) as pipeline:
        thread = threading.Thread(target=datapath.run, args=(pipeline,))
        thread.start()
        for port in (ALLOWED, DENIED):
            lab.listen(4, port)
        assert lab.connect(4, ALLOWED) == "connected"
        assert lab.connect(4, DENIED) == "timed out"
        datapath.stop()
        thread.join(10)
    assert not thread.is_alive()
    found = {(one.policy_id, one.destination.port) for one in collector.flows}
    assert found == {("service", ALLOWED), ("default", DENIED)}


def test_a_child_that_closes_it_leaves_the_queue_to_its_parent(
    lab: Lab, datapath: Datapath
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if not child:
        datapath.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    lab.listen(4, ALLOWED)
    collector = MemoryCollector()
    thread = threading.Thread(target=datapath.run, args=(collector,))
    thread.start()
    assert lab.connect(4, ALLOWED) == "connected"
    datapath.stop()
    thread.join(10)
    assert {one.policy_id for one in collector.flows} == {"service"}


def test_it_judges_in_an_event_loop(lab: Lab, datapath: Datapath) -> None:
    lab.listen(4, ALLOWED)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(lab.connect(4, ALLOWED)))

    async def watch() -> str:
        async with RecordStream(datapath) as records:
            client.start()
            async for record in records:
                if isinstance(record, FlowRecord):
                    await asyncio.to_thread(client.join)
                    return record.policy_id
        return ""

    assert asyncio.run(watch()) == "service"
    assert answers == ["connected"]


def test_100_reloads_a_second_lose_nothing_and_records_name_the_policy(
    lab: Lab, datapath: Datapath
) -> None:
    """The second policy opens one port more, and calls its rule by another name."""
    other = POLICY.replace("[8080]", "[8080, 8081]").replace('"service"', '"wider"')
    policies = [compile_policy(parse_policy(text)) for text in (POLICY, other)]
    names = {
        policies[0].revision: {("service", ALLOWED), ("default", DENIED)},
        policies[1].revision: {("wider", ALLOWED), ("wider", DENIED)},
    }
    receivers = {}
    for port in (ALLOWED, DENIED):
        receivers[port] = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
        receivers[port].bind((SERVER[4], port))
        receivers[port].settimeout(2)
    collector = MemoryCollector()
    ending = threading.Event()
    sent = [0]

    def send() -> None:
        while not ending.is_set():
            with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                # A port of its own each time: a flow that is judged anew.
                client.bind(("", 10_000 + sent[0]))
                client.sendto(b"x", (SERVER[4], ALLOWED))
                client.sendto(b"x", (SERVER[4], DENIED))
            sent[0] += 1
            time.sleep(0.002)

    received = [0]

    def receive() -> None:
        while received[0] < sent[0] or not ending.is_set():
            try:
                receivers[ALLOWED].recv(10)
            except TimeoutError:
                return
            received[0] += 1

    with Pipeline([collector]) as pipeline:
        threads = [
            threading.Thread(target=datapath.run, args=(pipeline,)),
            threading.Thread(target=send),
            threading.Thread(target=receive),
        ]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for number in range(RELOADS):
            datapath.replace_policy(policies[number % 2]).result(5)
            time.sleep(max(0.0, began + (number + 1) / RELOADS_PER_SECOND - time.monotonic()))
        ending.set()
        threads[1].join()
        assert wait_for(lambda: received[0] == sent[0], 5), (received, sent)
        datapath.stop()
        for thread in threads:
            thread.join(10)
    statistics = lab.server.call(datapath.queue.statistics)
    assert statistics is not None
    assert (statistics.waiting, statistics.dropped, statistics.user_dropped) == (0, 0, 0)
    seen = {(one.policy_revision, (one.policy_id, one.destination.port)) for one in collector.flows}
    for revision, what in seen:
        assert isinstance(revision, str)
        assert what in names[revision]
    assert len(seen) == 4
    assert sum(one.count for one in collector.flows) == 2 * sent[0]
