"""A stream judges in an event loop, and gives its records in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.datapath.test_datapath import HTTP, SSH, Bench, flows
from trireme_datapath.packets import Verdict
from trireme_datapath.record_stream import RecordStream

if TYPE_CHECKING:
    from trireme_collector.records import Record


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_records_come_as_packets_do(bench: Bench) -> None:
    async def watch() -> list[object]:
        seen: list[object] = []
        async with RecordStream(bench.datapath) as records:
            asyncio.get_running_loop().call_soon(bench.queues[0].feed, HTTP)
            async for record in records:
                seen.append(record)
                if len(seen) == 1:
                    bench.queues[0].feed(SSH)
                else:
                    records.stop()
        return seen

    assert flows(asyncio.run(watch())) == [("http", 80), ("default", 22)]


def test_packets_are_judged_though_nobody_fetches(bench: Bench) -> None:
    async def idle() -> tuple[int, int, list[Record]]:
        async with RecordStream(bench.datapath, max_waiting=1) as records:
            bench.queues[0].feed(HTTP, SSH)
            while not bench.queues[0].verdicts:  # noqa: ASYNC110  a fake queue tells nobody
                await asyncio.sleep(0)
            waiting = len(records)
            records.stop()
            records.stop()
            return records.dropped, waiting, [record async for record in records]

    dropped, waiting, left = asyncio.run(idle())
    assert (dropped, waiting) == (1, 1)
    assert flows([*left]) == [("default", 22)]
    assert [one.verdict for one in bench.queues[0].verdicts.values()] == [
        Verdict.ACCEPT,
        Verdict.DROP,
    ]


def test_what_waits_at_the_end_is_judged(bench: Bench) -> None:
    async def leave() -> None:
        async with RecordStream(bench.datapath):
            bench.queues[0].feed(HTTP)

    asyncio.run(leave())
    assert bench.verdicts == ["ACCEPT"]


def test_a_lost_queue_ends_the_iteration(bench: Bench) -> None:
    def lose() -> list[Record]:
        raise OSError("gone")

    async def watch() -> None:
        async with RecordStream(bench.datapath) as records:
            bench.datapath.judge = lose  # type: ignore[method-assign]  # as a dead socket does
            bench.queues[0].feed(HTTP)
            await anext(records)

    with pytest.raises(OSError, match="gone"):
        asyncio.run(watch())


def test_a_bound_is_needed(bench: Bench) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RecordStream(bench.datapath, max_waiting=0)
