"""Metrics and health over HTTP, read from plain counters when somebody asks.

Needs the extra ``metrics``. Nothing here is touched by a packet.
"""

from __future__ import annotations

from trireme_collector.metrics._config import Listen, MetricsConfig, parse_listen
from trireme_collector.metrics._disk import SpoolWatch
from trireme_collector.metrics._model import (
    MAX_SERIES,
    HealthCheck,
    HealthSource,
    Metric,
    MetricKind,
    MetricSource,
    MetricSpec,
    bounded,
)
from trireme_collector.metrics._pipeline import PIPELINE_METRICS, PipelineMetrics
from trireme_collector.metrics._render import Renderer
from trireme_collector.metrics._server import SERVER_METRICS, MetricsServer, ServerLimits

__all__ = [
    "MAX_SERIES",
    "PIPELINE_METRICS",
    "SERVER_METRICS",
    "HealthCheck",
    "HealthSource",
    "Listen",
    "Metric",
    "MetricKind",
    "MetricSource",
    "MetricSpec",
    "MetricsConfig",
    "MetricsServer",
    "PipelineMetrics",
    "Renderer",
    "ServerLimits",
    "SpoolWatch",
    "bounded",
    "parse_listen",
]
