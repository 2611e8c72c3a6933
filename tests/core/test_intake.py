"""Flows that are handed in together become the records that they become one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from trireme_collector import (
    ActionType,
    AggregationConfig,
    DeliveryConfig,
    EndPoint,
    FlowPhase,
    FlowRecord,
    Pipeline,
)
from trireme_collector.testing import FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import UnsetType


def flow(port: int, count: int, phase: FlowPhase | UnsetType = UNSET) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip="10.0.0.1"),
        destination=EndPoint(ip="10.0.0.2", port=port),
        action=ActionType.ACCEPT,
        count=count,
        phase=phase,
    )


flows = st.lists(
    st.builds(
        flow,
        st.integers(0, 5),
        st.integers(0, 3),
        st.sampled_from([UNSET, FlowPhase.ENDED]),
    ),
    max_size=30,
)


def taken(
    config: AggregationConfig, hand_in: Callable[[Pipeline], None]
) -> tuple[list[FlowRecord], tuple[int, ...]]:
    clock, memory = FakeClock(), MemoryCollector()
    pipeline = Pipeline(
        [memory],
        instance="host-1",
        clock=clock,
        threads=False,
        aggregation=config,
        delivery=DeliveryConfig(batch_age_seconds=0),
    ).start()
    hand_in(pipeline)
    status = pipeline.status()
    pipeline.close()
    return memory.flows, (status.flows_received, status.flows_merged, status.flows_evicted)


@pytest.mark.parametrize("window_seconds", [0, 1])
@given(records=flows, max_keys=st.integers(1, 4))
def test_together_is_as_one_by_one(
    window_seconds: float, records: Sequence[FlowRecord], max_keys: int
) -> None:
    config = AggregationConfig(window_seconds=window_seconds, max_keys=max_keys)

    def singly(pipeline: Pipeline) -> None:
        for record in records:
            pipeline.collect_flow_event(record)

    together = taken(config, lambda pipeline: pipeline.collect_flow_events(records))
    assert together == taken(config, singly)


def test_a_malformed_flow_among_others_costs_one_flow() -> None:
    broken = cast("FlowRecord", object())
    memory = MemoryCollector()
    pipeline = Pipeline([memory], clock=FakeClock(), threads=False).start()
    pipeline.collect_flow_events([flow(1, 1), broken, flow(2, 1)])
    assert pipeline.status().malformed == 1
    pipeline.close()
    assert [one.destination.port for one in memory.flows] == [1, 2]
    pipeline.collect_flow_events([flow(3, 1)])
    assert pipeline.status().collectors[0].dropped_by_reason == {"closed": 1}
