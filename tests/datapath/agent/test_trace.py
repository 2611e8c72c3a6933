"""The command ``trace`` of a running agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.datapath.agent.test_agent import HTTP, POLICY, SSH, Bench
from tests.datapath.agent.test_control import Run
from trireme_collector.control import CommandFailedError, TraceArguments, TraceResult
from trireme_datapath.agent._tracing import trace_request
from trireme_datapath.policy import parse_policy
from trireme_datapath.tracing import TraceDirection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNIT = parse_policy(POLICY).units[0]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    bench = Bench(tmp_path)
    bench.packets = (HTTP, SSH)
    made = Run(bench, tmp_path / "c")
    made.start()
    yield made
    made.agent.stop()
    made.join()


def test_a_unit_is_traced_by_its_id_until_a_time(run: Run) -> None:
    arguments = TraceArguments(unit=UNIT.id, seconds=30)
    found = run.client.call("trace", TraceResult, arguments)
    assert found.context_id == UNIT.context_id
    assert found.until_ns > 0
    ended = run.client.call("trace", TraceResult, TraceArguments(unit=UNIT.id, direction="none"))
    assert ended == TraceResult(context_id=UNIT.context_id, until_ns=0)


def test_an_unknown_unit_is_told_so(run: Run) -> None:
    with pytest.raises(CommandFailedError, match=r"'nobody'.*policy file names them"):
        run.client.call("trace", TraceResult, TraceArguments(unit="nobody"))


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"seconds": 4000}, {"payload_bytes": 65}, {"direction": "up"}]
)
def test_what_can_not_be_is_refused(run: Run, wrong: dict[str, object]) -> None:
    class Loose(msgspec.Struct, frozen=True, kw_only=True):
        unit: str
        seconds: object = 60
        payload_bytes: object = 64
        direction: object = "both"

    with pytest.raises(CommandFailedError, match="trace"):
        run.client.call("trace", TraceResult, Loose(unit=UNIT.id, **wrong))


def test_words_become_a_request() -> None:
    request = trace_request(
        TraceArguments(unit="u", direction="network", seconds=2, payload_bytes=9), 10
    )
    assert (request.direction, request.until_ns, request.payload_bytes) == (
        TraceDirection.NETWORK,
        2_000_000_010,
        9,
    )
