"""The observer: the last flows of this host, for whoever asks as Hubble's clients do."""

from __future__ import annotations

from trireme_datapath.observer.core import DEFAULT_MAX_FLOWS, FlowObserver, ObserverStatus
from trireme_datapath.observer.field_mask import FieldMask
from trireme_datapath.observer.flow_filter import (
    EventTypeFilter,
    FilterError,
    FlowFilter,
    InterfaceFilter,
    compile_filters,
    filter_fields,
    read_filter,
)
from trireme_datapath.observer.reader import FlowReader, FlowsRequest, RequestError
from trireme_datapath.observer.ring import FlowRing
from trireme_datapath.observer.seen import LostEvents, SeenFlow
from trireme_datapath.observer.tap import ObservingCollector

__all__ = [
    "DEFAULT_MAX_FLOWS",
    "EventTypeFilter",
    "FieldMask",
    "FilterError",
    "FlowFilter",
    "FlowObserver",
    "FlowReader",
    "FlowRing",
    "FlowsRequest",
    "InterfaceFilter",
    "LostEvents",
    "ObserverStatus",
    "ObservingCollector",
    "RequestError",
    "SeenFlow",
    "compile_filters",
    "filter_fields",
    "read_filter",
]
