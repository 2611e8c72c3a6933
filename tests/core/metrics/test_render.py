"""What is counted can be read by the parsers of the systems that read it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from trireme_collector import DeliveryConfig, EnricherSpec, FlowRecord, MissingExtraError, Pipeline
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.enrichment import Enrichment, EnrichmentConfig, LookupConfig
from trireme_collector.exit_codes import ExitCode
from trireme_collector.hookspecs import NoOptions
from trireme_collector.metrics import (
    MAX_SERIES,
    PIPELINE_METRICS,
    Metric,
    MetricKind,
    MetricsConfig,
    MetricSpec,
    MetricsServer,
    PipelineMetrics,
    Renderer,
    bounded,
)
from trireme_collector.testing import FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import msgspec

SPEC = MetricSpec("trireme_things", MetricKind.COUNTER, "Things.", ("name",))


class Things:
    def __init__(self, count: int, name: str = "thing") -> None:
        self.count = count
        self.name = name

    def metrics(self) -> Iterator[Metric]:
        yield Metric(SPEC, [((f"{self.name} {n}",), n) for n in range(self.count)])


def test_a_missing_package_is_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"trireme-collector\[metrics\]") as caught:
        MetricsServer(MetricsConfig(listen="127.0.0.1:0"), ())
    assert "\n" not in str(caught.value)
    assert exit_code_of(caught.value) is ExitCode.MISSING_EXTRA


@pytest.mark.parametrize("count", [0, 1, MAX_SERIES, MAX_SERIES + 1, 5000])
def test_a_metric_has_a_bounded_number_of_series_and_loses_nothing(count: int) -> None:
    (metric,) = Things(count).metrics()
    limited = bounded(metric)
    assert len(limited.samples) == min(count, MAX_SERIES)
    assert sum(value for _, value in limited.samples) == sum(range(count))
    if count > MAX_SERIES:
        assert limited.samples[-1][0] == ("(other)",)


def test_every_metric_of_a_pipeline_is_in_its_catalogue() -> None:
    pipeline = Pipeline([MemoryCollector()], clock=FakeClock(), threads=False)
    assert tuple(m.spec for m in PipelineMetrics(pipeline).metrics()) == PIPELINE_METRICS


class Nobody:
    """A look-up that knows no address."""

    def find(self, address: str) -> None:
        del address


def nobody_knows() -> Enrichment:
    spec: EnricherSpec[msgspec.Struct] = EnricherSpec(
        name="nobody", factory=lambda _: Nobody(), config_type=NoOptions
    )
    lookup = LookupConfig(name="nobody", spec=spec, options=NoOptions())
    return Enrichment(EnrichmentConfig(), [lookup])


@pytest.mark.parametrize("as_openmetrics", [True, False])
def test_the_parsers_read_it(tmp_path: Path, *, as_openmetrics: bool) -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client import parser  # noqa: PLC0415
    from prometheus_client.openmetrics import parser as openmetrics  # noqa: PLC0415

    memory = MemoryCollector()
    pipeline = Pipeline(
        {"m": memory},
        instance='host "7"',
        delivery=DeliveryConfig(state_directory=str(tmp_path)),
        enrichment=nobody_knows(),
        clock=FakeClock(),
        threads=False,
    ).start()
    pipeline.collect_flow_event(FlowRecord(count=1))
    pipeline.flush()
    pipeline.close()
    pipeline.collect_flow_event(FlowRecord(count=1))
    renderer = Renderer([PipelineMetrics(pipeline), Things(2, 'a\n"\\')])
    content_type, text = renderer.render(as_openmetrics=as_openmetrics)
    assert ("openmetrics" in content_type) is as_openmetrics
    read = openmetrics if as_openmetrics else parser
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in read.text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    (account,) = pipeline.status().collectors
    assert account.dropped_by_reason["closed"] == 1
    for name in ("accepted", "delivered", "queued", "dead_lettered"):
        suffix = "" if name == "queued" else "_total"
        key = f"trireme_collector_records_{name}{suffix}", ("m",)
        assert samples[key] == getattr(account, name)
    assert samples["trireme_collector_records_dropped_total", ("m", "closed")] == 1
    assert samples["trireme_things_total", ('a\n"\\ 1',)] == 1
    assert samples["trireme_spool_bytes", ("m",)] > 0
    assert samples["trireme_spool_failures_total", ("m", "sync")] == 0
    names = {name for name, _ in samples}
    assert {spec.exposed_name for spec in PIPELINE_METRICS} <= names
