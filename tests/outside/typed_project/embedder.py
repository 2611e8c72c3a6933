"""What an embedder and an author of plugins write: a type checker takes all of it, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import msgspec

from trireme_collector import (
    CollectorContext,
    CollectorSpec,
    EventCollector,
    FilterSpec,
    FlowRecord,
    FormatSpec,
    NoOptions,
    NullCollector,
    Pipeline,
    PipelineStatus,
    Record,
    Registry,
    ShutdownReport,
    build_pipeline,
    decode_json,
    encode_json,
    hookimpl,
)
from trireme_collector.filters import FilterConfig, RecordFilter
from trireme_collector.testing import MemoryCollector
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.datapath import Datapath
from trireme_datapath.engine import Engine
from trireme_datapath.packets import QueuedPacket
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Options(msgspec.Struct, frozen=True):
    """Options of a plugin."""

    path: str = ""


class Simple(NullCollector):
    """A collector of the simple form."""

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Take a flow."""
        assert_type(record.source.ip, str)
        assert_type(record.action.rejected, bool)


class Batched:
    """A collector of the batched form."""

    def deliver(self, batch: Sequence[Record]) -> None:
        """Take records."""
        for record in batch:
            if isinstance(record, FlowRecord):
                assert_type(record, FlowRecord)


def build(options: Options, context: CollectorContext) -> Batched:
    """Build a collector."""
    assert_type(context.find_format("csv"), FormatSpec)
    assert_type(options.path, str)
    return Batched()


def passes(_options: NoOptions) -> Callable[[Record], bool]:
    """Build a filter."""
    return lambda record: isinstance(record, FlowRecord)


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[Options] | CollectorSpec]:
    """Offer collectors with and without options."""
    return [
        CollectorSpec(name="batched", factory=build, config_type=Options),
        CollectorSpec(name="simple", factory=lambda _options, _context: Simple()),
    ]


@hookimpl
def trireme_register_filters() -> list[FilterSpec]:
    """Offer a filter."""
    return [FilterSpec(name="flows", factory=passes)]


def report() -> ShutdownReport:
    """Report to an embedded pipeline."""
    memory = MemoryCollector()
    chosen = RecordFilter(FilterConfig(), [lambda record: isinstance(record, FlowRecord)])
    pipeline = Pipeline({"memory": memory}, filters={"memory": chosen}).start()
    taker: EventCollector = pipeline
    taker.collect_flow_event(FlowRecord(count=1))
    assert_type(pipeline.status(), PipelineStatus)
    assert_type(memory.flows, list[FlowRecord])
    assert_type(build_pipeline({}, Registry()), Pipeline)
    assert_type(encode_json(FlowRecord()), bytes)
    assert isinstance(decode_json(b"{}"), FlowRecord)
    return pipeline.close()


def judge(text: str, data: bytes) -> list[str]:
    """Judge a packet."""
    engine = Engine(compile_policy(parse_policy(text, name="policy.toml")))
    decision = engine.receive(QueuedPacket(data=data), now_ns=1)
    with Datapath(parse_policy(text), lambda made: FakeBackend(made, [data])) as datapath:
        datapath.run(NullCollector())
    return [record.policy_id for record in decision.records if isinstance(record, FlowRecord)]
