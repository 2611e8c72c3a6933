"""Inputs that were once read otherwise than Cilium does; see `tests/data/monitor/SOURCE.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trireme_datapath.monitor import (
    connection_summary,
    dissect,
    get_dissect_summary,
    hubble_flow,
    render,
)

_FILE = Path(__file__).parents[1] / "data" / "monitor" / "more_output.json"
_CONTENT: dict[str, list[dict[str, Any]]] = json.loads(_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", _CONTENT["packets"])
def test_options_that_are_longer_than_their_packet(case: dict[str, str]) -> None:
    packet, profile = bytes.fromhex(case["hex"]), case["profile"]
    assert connection_summary(packet, profile=profile) == case["summary"]
    assert dissect(packet, verbose=True, profile=profile) == case["dissect"]
    summary = get_dissect_summary(packet, profile=profile)
    assert msgspec.json.encode(summary).decode() == case["json"]


@pytest.mark.parametrize("case", _CONTENT["access_logs"])
def test_access_logs(case: dict[str, Any]) -> None:
    message = bytes.fromhex(case["hex"])
    assert render(message) == case["info"]
    assert render(message, mode="json") == case["json"]
    assert hubble_flow(message) == case["flow"]


def test_there_is_something_to_compare() -> None:
    assert {case["profile"] for case in _CONTENT["packets"]} == {"1.16.2", "1.9.18"}
    assert len(_CONTENT["packets"]) == 20
    assert len(_CONTENT["access_logs"]) > 15
