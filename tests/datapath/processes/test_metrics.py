"""What is measured of the processes."""

from __future__ import annotations

from tests.datapath.processes.test_keeper import FEED
from trireme_collector.metrics import HealthCheck
from trireme_datapath.processes._metrics import PROCESS_METRICS, ProcessMetrics


def test_what_the_supervisor_tells_becomes_metrics() -> None:
    measured = ProcessMetrics()
    assert list(measured.metrics()) == []
    measured.take(FEED)
    found = {metric.spec.name: list(metric.samples) for metric in measured.metrics()}
    assert found == {
        "trireme_process_running": [(("enforcer 0",), 1), (("collectors",), 0)],
        "trireme_process_deaths": [(("enforcer 0",), 2), (("collectors",), 1)],
        "trireme_process_policy": [(("enforcer 0", "90be22f1"), 1)],
        "trireme_crossing_records": [
            (("made",), 6),
            (("dropped",), 1),
            (("sent",), 5),
            (("taken",), 3),
            (("lost",), 1),
        ],
        "trireme_queue_settled_packets": [((), 9)],
    }
    assert set(found) == {spec.name for spec in PROCESS_METRICS}


def test_what_only_the_supervisor_can_know_belongs_to_the_health() -> None:
    measured = ProcessMetrics()
    assert list(measured.health()) == []
    measured.take(FEED)
    assert list(measured.health()) == [
        HealthCheck("rules", ok=False, detail="not enforcing: gone"),
        HealthCheck("observe", ok=True, essential=False),
    ]
