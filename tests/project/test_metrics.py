"""The metrics that are offered are those that are documented."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from trireme_collector.metrics import PIPELINE_METRICS, SERVER_METRICS
from trireme_datapath.agent._monitor_watch import MONITOR_METRICS
from trireme_datapath.agent._watch import DATAPATH_METRICS
from trireme_datapath.observer.metrics import OBSERVER_METRICS
from trireme_datapath.processes._metrics import PROCESS_METRICS
from trireme_datapath.recorder.metrics import RECORDER_METRICS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
EVERY = (
    *PIPELINE_METRICS,
    *DATAPATH_METRICS,
    *PROCESS_METRICS,
    *MONITOR_METRICS,
    *OBSERVER_METRICS,
    *RECORDER_METRICS,
    *SERVER_METRICS,
)


def test_every_metric_has_its_table_on_the_page() -> None:
    tables = re.findall(r"^```\{metrics\} ([\w.]+):(\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = [spec for module, name in tables for spec in getattr(import_module(module), name)]
    assert sorted(shown) == sorted(EVERY)


def test_names_are_unique_and_of_one_form() -> None:
    names = [spec.exposed_name for spec in EVERY]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"trireme_[a-z_]+", name) for name in names)
