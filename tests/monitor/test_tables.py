"""Every number that a table of Cilium names has the same name here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.monitor.cilium_vectors import document
from trireme_datapath.monitor import (
    PROFILE_1_9,
    PROFILE_1_16,
    MessageType,
    agent_event_name,
    auth_type_name,
    get_all_types,
    message_type_name,
    trace_observation_point,
)
from trireme_datapath.monitor.tables.bpf_files import bpf_file_name
from trireme_datapath.monitor.tables.dns_types import DNS_TYPES
from trireme_datapath.monitor.tables.error_numbers import error_text

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = document()["tables"]


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("agent_notifications", agent_event_name),
        ("auth_type", auth_type_name),
        ("bpf_file", bpf_file_name),
        ("dns_type", lambda number: DNS_TYPES.get(number, "")),
        ("drop_reason", PROFILE_1_16.drop_reason),
        ("drop_reason_1_9", PROFILE_1_9.drop_reason),
        ("go_errno_linux", error_text),
        ("identity_names", lambda number: PROFILE_1_16.identities[number]),
        ("policy_match_type", lambda number: PROFILE_1_16.match_types.get(number, "unknown")),
        ("trace_observation_point", trace_observation_point),
    ],
)
def test_names(table: str, name: Callable[[int], str]) -> None:
    assert {number: name(int(number)) for number in TABLES[table]} == TABLES[table]


def test_drop_reasons_with_a_second_error() -> None:
    samples = TABLES["drop_reason_ext_samples"]
    found = {pair: PROFILE_1_16.drop_reason(*map(int, pair.split("/"))) for pair in samples}
    assert found == samples


def test_message_types() -> None:
    assert PROFILE_1_16.message_names == TABLES["message_type_names"]
    assert list(PROFILE_1_16.message_names) == TABLES["all_type_names_by_value"]
    assert get_all_types() == TABLES["all_types_sorted"]
    assert get_all_types("1.9") == TABLES["all_types_sorted_1_9"]
    assert message_type_name(MessageType.ACCESS_LOG) == "l7"
    assert message_type_name(77) == "77"
