"""What a type checker must refuse; it complains where a comment says so and nothing is wrong."""

from __future__ import annotations

from trireme_collector import CollectorSpec, FlowRecord, NoOptions, Pipeline

flow = FlowRecord(source="192.0.2.1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
flow.count = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Pipeline([]).collect_flow_event("flow")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Pipeline([], agregation=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def build(options: NoOptions) -> object:
    """Build with an argument too few."""
    return options


CollectorSpec(name="x", factory=build)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
