"""Filters that plugins offer: configured, asked last, and closed when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog.testing

from trireme_collector import (
    Checkpoint,
    ConfigError,
    EndPoint,
    FilterSpec,
    FlowRecord,
    NoOptions,
    Pipeline,
    PluginError,
    Registry,
    UserRecord,
    build_pipeline,
    hookimpl,
)
from trireme_collector.config import Configuration, load_config
from trireme_collector.filters import (
    DROPPED_FILTER_FAILED,
    DROPPED_FILTERED,
    FilterConfig,
    RecordFilter,
)
from trireme_collector.hookspecs import CollectorSpec
from trireme_collector.testing import MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector import Record


class Port(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the probe."""

    port: int = 22

    def __post_init__(self) -> None:
        if self.port == 13:
            raise ValueError("another port than 13")


def build(options: Port) -> Callable[[Record], bool]:
    if options.port == 14:
        raise ConfigError("the port 14 is not to be had")
    if options.port == 15:
        raise KeyError("a mistake")
    return lambda record: isinstance(record, FlowRecord) and record.destination.port == options.port


class Filters:
    @staticmethod
    @hookimpl
    def trireme_register_filters() -> list[FilterSpec[Port]]:
        return [FilterSpec(name="port", factory=build, config_type=Port)]


class NoFunction:
    @staticmethod
    @hookimpl
    def trireme_register_filters() -> list[FilterSpec[NoOptions]]:
        return [FilterSpec(name="none", factory=lambda _: None)]  # type: ignore[arg-type,return-value]  # that is the mistake


class Sink:
    made: MemoryCollector

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[NoOptions]]:
        def make(_options: NoOptions, _context: object) -> MemoryCollector:
            self.made = MemoryCollector()
            return self.made

        return [CollectorSpec(name="sink", factory=make)]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def registry(sink: Sink) -> Registry:
    made = Registry(entry_points=[])
    made.register(sink, name="sink")
    made.register(Filters, name="port")
    made.register(NoFunction, name="none")
    return made


def flow(port: int) -> FlowRecord:
    return FlowRecord(destination=EndPoint(port=port), count=1)


def test_a_filter_of_a_plugin_chooses(registry: Registry, sink: Sink) -> None:
    tables = {"sink": {"filter": {"plugins": {"port": {"port": 23}, "again": {"type": "port"}}}}}
    with build_pipeline(tables, registry, checkpoint_seconds=60) as pipeline:
        pipeline.collect_flow_event(flow(22))
    assert sink.made.flows == []  # 23 and 22 at once: nothing is both
    assert sink.made.checkpoints, "a filter is not asked about the counts"
    tables = {"sink": {"filter": {"plugins": {"port": {"port": 23}}}}}
    with build_pipeline(tables, registry) as pipeline:
        pipeline.collect_flow_event(flow(22))
        pipeline.collect_flow_event(flow(23))
    assert [one.destination.port for one in sink.made.flows] == [23]
    assert pipeline.status().collectors[0].dropped_by_reason == {DROPPED_FILTERED: 1}


def test_expressions_are_asked_before() -> None:
    asked: list[Record] = []

    def note(record: Record) -> bool:
        asked.append(record)
        return True

    chosen = RecordFilter(FilterConfig(deny=['type == "user"']), [note])
    passed, sizes, dropped = chosen.sift([flow(1), UserRecord(), Checkpoint()], [1, 2, 3])
    assert (len(passed), list(sizes), dropped) == (2, [1, 3], {DROPPED_FILTERED: 1})
    assert asked == [flow(1)]


def test_a_filter_that_fails_lets_nothing_pass_and_is_reported_once() -> None:
    def fail(_record: Record) -> bool:
        raise ZeroDivisionError("in the filter")

    memory = MemoryCollector()
    chosen = RecordFilter(FilterConfig(), [fail])
    with (
        structlog.testing.capture_logs() as logs,
        Pipeline({"memory": memory}, filters={"memory": chosen}) as pipeline,
    ):
        for number in range(3):
            pipeline.collect_user_event(UserRecord(id=str(number)))
    assert memory.records == []
    assert pipeline.status().collectors[0].dropped_by_reason == {DROPPED_FILTER_FAILED: 3}
    (entry,) = logs
    assert (entry["event"], entry["collector"]) == ("filter_failed", "memory")
    assert "in the filter" in entry["error"]


BAD: dict[str, tuple[str, str, str]] = {
    "unknown": ("poort = { }", "poort", 'did you mean "port"?'),
    "no filter": ("sink = { }", "sink", "offers no filter"),
    "unknown by type": ('x = { type = "prt" }', "x.type", "did you mean"),
    "no name": ("port = { type = 5 }", "port.type", "expected the name of a plugin"),
    "wrong type": ('port = { port = "22" }', "port.port", "expected an integer"),
    "unknown key": ("port = { prt = 22 }", "port.prt", "did you mean port?"),
    "together": ("port = { port = 13 }", "port", "another port than 13"),
    "refused": ("port = { port = 14 }", "port", "the port 14 is not to be had"),
}


@pytest.mark.parametrize("case", BAD, ids=BAD.keys())
def test_mistakes_are_told_with_their_place(case: str, registry: Registry, tmp_path: Path) -> None:
    line, place, said = BAD[case]
    path = tmp_path / "collector.toml"
    path.write_text(f"[collectors.sink.filter.plugins]\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, Configuration, registry=registry)
    message = str(caught.value)
    assert "collector.toml:2:" in message
    assert f"collectors.sink.filter.plugins.{place}: found" in message
    assert said.replace('"', "") in message.replace('"', "")

    import tomllib  # noqa: PLC0415

    tables = tomllib.loads(path.read_text(encoding="utf-8"))["collectors"]
    with pytest.raises(ConfigError) as caught:
        build_pipeline(tables, registry)
    assert f"collectors.sink.filter.plugins.{place}: found" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"port": {"port": 15}}, "the factory of plugin 'port' failed: KeyError"),
        ({"none": {}}, "plugin 'none' built NoneType, not a function"),
    ],
)
def test_a_mistake_in_the_plugin_is_its_own(
    table: dict[str, object], said: str, registry: Registry
) -> None:
    with pytest.raises(PluginError, match=said):
        build_pipeline({"sink": {"filter": {"plugins": table}}}, registry)


def test_a_configuration_that_fits_is_taken(registry: Registry, sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    path.write_text("[collectors.sink.filter.plugins.port]\nport = 23\n", encoding="utf-8")
    loaded = load_config(path, Configuration, registry=registry)
    assert loaded.probe_outputs() == []
    with loaded.pipeline() as pipeline:
        pipeline.collect_flow_event(flow(22))
        pipeline.collect_flow_event(flow(23))
    assert [one.destination.port for one in sink.made.flows] == [23]
