"""The strict profile does what the original did, value by value and in order."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.netobserv import vectors
from trireme_collector import ConfigError
from trireme_collector.netobserv import (
    FlowReader,
    LineTracker,
    Tracker,
    conversation_hash,
    encode_flow,
)
from trireme_collector.netobserv._hash import encode_value

if TYPE_CHECKING:
    from trireme_collector.netobserv._config import Profile

VECTORS = vectors.load()
RANDOM = vectors.load_random()


def named(scenario: dict[str, Any]) -> str:
    return str(scenario["name"])


@pytest.mark.parametrize("vector", VECTORS["value_bytes"], ids=lambda v: f"{v['go_type']}")
def test_values_are_encoded_alike(vector: dict[str, Any]) -> None:
    value, kind = vector["value"], vector["go_type"]
    value = float(value) if kind.startswith("float") else value
    assert encode_value(value, signed=kind.startswith("int")).hex() == vector["hex"]


def test_hashes_are_alike() -> None:
    different = [
        vector
        for vector in VECTORS["hash"]
        if conversation_hash(
            vector["flow"],
            vector.get("keyDefinition", VECTORS["default_keyDefinition"]),
            numbers=vector["types"],
        )
        != vector["_HashId"]
    ]
    assert len(VECTORS["hash"]) == 159
    assert different == []


@pytest.mark.parametrize("scenario", vectors.scenarios(refused=False), ids=named)
def test_records_are_alike(scenario: dict[str, Any]) -> None:
    config = VECTORS["configs"][scenario["config"]]
    tracker = Tracker.from_config(config, profile="strict", numbers=scenario["types"])
    for step in scenario["steps"]:
        assert tracker.process(step["flows"], step["at_ms"]) == step["output"], step["at_ms"]
    assert tracker.metrics() == scenario["metrics"]


@pytest.mark.parametrize("scenario", vectors.scenarios(refused=False), ids=named)
def test_records_out_of_lines_are_alike(scenario: dict[str, Any]) -> None:
    config = VECTORS["configs"][scenario["config"]]
    tracker = Tracker.from_config(config, profile="strict", numbers=scenario["types"])
    by_line = LineTracker(tracker)
    for step in scenario["steps"]:
        lines = [json.dumps(flow).encode() for flow in step["flows"]]
        given = [json.loads(line) for line in by_line.process(lines, step["at_ms"])]
        # A flow log that is passed on keeps its digits; as floats both are the same.
        assert _as_floats(given) == _as_floats(step["output"]), step["at_ms"]
    assert tracker.metrics() == scenario["metrics"]


def _as_floats(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: float(v) if type(v) is int else v for name, v in record.items()}
        for record in records
    ]


@pytest.mark.parametrize("scenario", vectors.scenarios(refused=True), ids=named)
@pytest.mark.parametrize("profile", ["strict", "default"])
def test_configurations_are_refused_alike(scenario: dict[str, Any], profile: Profile) -> None:
    config = VECTORS["configs"][scenario["config"]]
    with pytest.raises(ConfigError) as refusal:
        Tracker.from_config(config, profile=profile)
    assert refusal.value.problems


@pytest.mark.parametrize("run", VECTORS["binary_runs"], ids=named)
def test_whole_runs_are_alike(run: dict[str, Any]) -> None:
    """The original took what had come every five seconds, if anything had."""
    tracker = Tracker.from_config(
        VECTORS["configs"][run["config"]], profile="strict", numbers="json"
    )
    batches: dict[int, list[Any]] = {}
    for given in run["input"]:
        batches.setdefault(int(given["t"] // 5) * 5 + 5, []).extend(given["flows"])
    records = [
        (time, record)
        for time, flows in sorted(batches.items())
        for record in tracker.process(flows, time * 1000)
    ]
    assert [record for _, record in records] == [output["record"] for output in run["output"]]
    for (time, _), output in zip(records, run["output"], strict=True):
        assert abs(time - output["t"]) < 1


def test_the_original_reads_what_we_write_and_we_write_what_it_writes() -> None:
    given = vectors.load_interchange()
    flows = [json.loads(line) for line in given["lines"]]
    tracker = Tracker.from_config(given["config"], profile="strict", numbers="json")
    records = tracker.process(flows, 0)
    assert [encode_flow(r, profile="strict").decode() for r in records] == given["texts"]
    reader = FlowReader()
    read = [reader.read(text.encode()) for text in given["texts"]]
    assert (len(read), None in read, reader.broken) == (244, False, 0)
    assert (reader.wrong.total(), reader.unknown.total()) == (0, 0)


def test_flow_logs_of_an_agent_are_known_and_sound() -> None:
    reader = FlowReader()
    for flow in VECTORS["agent_grpc_flowlogs"]:
        kept = {name: value for name, value in flow.items() if value is not None}
        assert reader.tidy(flow) == kept
    assert (reader.wrong.total(), reader.unknown.total()) == (0, 0)


@pytest.mark.parametrize("scenario", RANDOM["scenarios"], ids=named)
def test_what_is_made_at_random_is_treated_alike(scenario: dict[str, Any]) -> None:
    tracker = Tracker.from_config(scenario["config"], profile="strict", numbers=scenario["types"])
    for step in scenario["steps"]:
        given = tracker.process(step["flows"], step["at_ms"])
        assert _comparable(given) == _comparable(step["output"]), step["at_ms"]
    assert tracker.metrics() == scenario["metrics"]


def test_flags_are_the_lower_bits_of_what_a_float_holds() -> None:
    """As text, 2^64 ends in other digits than as a float: its bits are all zero."""
    config = VECTORS["configs"]["c00"]
    for number, source in ((2**64, "a"), (2**53 + 1, "a"), (2**32 + 256, "b"), (-3840, "b")):
        tracker = Tracker.from_config(config, profile="strict", numbers="json")
        flow = {"SrcAddr": "a", "SrcPort": 1, "DstAddr": "b", "DstPort": 2, "Proto": 6}
        (new, *_) = tracker.process([{**flow, "Flags": number}], 0)
        assert new["SrcAddr"] == source, number


@pytest.mark.parametrize("refused", RANDOM["refused"], ids=named)
@pytest.mark.parametrize("profile", ["strict", "default"])
def test_what_is_broken_at_random_is_refused_alike(
    refused: dict[str, Any], profile: Profile
) -> None:
    with pytest.raises(ConfigError):
        Tracker.from_config(refused["config"], profile=profile)


def _comparable(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare numbers as floats; those without a form in JSON were written down by name."""
    special = {math.inf: "#+Inf", -math.inf: "#-Inf"}

    def plain(value: object) -> object:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return value
        number = float(value)
        return "#NaN" if math.isnan(number) else special.get(number, number)

    return [{name: plain(value) for name, value in record.items()} for record in records]
