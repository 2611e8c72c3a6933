"""Records: what they print, what they carry, what happens at their edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trireme_collector import (
    COLLECT_METHODS,
    RECORD_TYPES,
    ActionType,
    ContainerEvent,
    EndPoint,
    EndPointType,
    ExtendedMap,
    FlowDropReason,
    FlowRecord,
    ObserveActionType,
    PingType,
    Record,
    ServiceType,
    Stage,
    TagStore,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ENUMS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "trireme_hashes.json").read_text(encoding="utf-8")
)["enums"]


@pytest.mark.parametrize("number", sorted(map(int, ENUMS["ActionType"])))
def test_actions_behave_as_upstream(number: int) -> None:
    expected = ENUMS["ActionType"][str(number)]
    action = ActionType.from_bits(number)
    assert {
        "Accepted": action.accepted,
        "ActionString": action.action_string,
        "Encrypted": action.encrypted,
        "Logged": action.logged,
        "Observed": action.observed,
        "Rejected": action.rejected,
        "String": str(action),
    } == expected


def test_actions_have_one_member_per_combination() -> None:
    assert sorted(action.bits for action in ActionType) == list(range(32))
    assert ActionType.from_bits(0x09) is ActionType.ACCEPT | ActionType.LOG
    assert ActionType.ACCEPT_LOG & ActionType.LOG is ActionType.LOG
    assert ActionType.REJECT_OBSERVE.describe() == "reject|observe"


@pytest.mark.parametrize("bits", [-1, 32, 255])
def test_bits_without_a_meaning_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="is not an action"):
        ActionType.from_bits(bits)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EndPointType, "EndPointType"),
        (ObserveActionType, "ObserveActionType"),
        (Stage, "Stage"),
        (PingType, "PingType"),
    ],
)
def test_numbered_enums_print_as_upstream(kind: Callable[[object], object], name: str) -> None:
    for number, expected in ENUMS[name].items():
        assert str(kind(int(number))) == expected


def test_unknown_numbers_read_as_upstream_reads_them() -> None:
    unknown: Any = 9  # the number of a newer version
    assert EndPointType(unknown) is EndPointType.PU
    assert Stage(unknown) is Stage.UNKNOWN
    assert PingType(unknown) is PingType.NONE
    assert ObserveActionType(unknown) is ObserveActionType.UNKNOWN
    with pytest.raises(ValueError, match="9"):
        ServiceType(unknown)


def test_drop_reasons_have_the_spelling_of_the_wire() -> None:
    assert {str(reason) for reason in FlowDropReason} == {
        "",
        "accept",
        "api",
        "compressedtagmismatch",
        "connection",
        "context",
        "datapathversionmismatch",
        "dial",
        "encryptionmismatch",
        "format",
        "header",
        "missingtoken",
        "nonse",
        "packetdrop",
        "payload",
        "policy",
        "reject",
        "state",
        "token",
    }
    assert FlowDropReason["INVALID_NONSE"] is FlowDropReason.INVALID_NONCE


def test_container_events_have_the_spelling_of_the_wire() -> None:
    assert {str(event) for event in ContainerEvent} == {
        "create",
        "delete",
        "forcestop",
        "ignore",
        "start",
        "stop",
        "unknowncontainer",
        "update",
    }


def test_a_flow_prints_as_upstream() -> None:
    record = FlowRecord(
        context_id="c",
        namespace="/n",
        count=2,
        source=EndPoint(id="s", ip="10.0.0.1"),
        destination=EndPoint(id="d", ip="10.0.0.2", port=80),
        action=ActionType.REJECT,
        drop_reason="policy",
    )
    assert str(record) == (
        "<flowrecord contextID:c namespace:/n count:2 sourceID:s destinationID:d"
        " sourceIP: 10.0.0.1 destinationIP:10.0.0.2 destinationPort:80 action:reject mode:policy>"
    )


@pytest.mark.parametrize("kind", RECORD_TYPES.values(), ids=list(RECORD_TYPES))
def test_records_are_frozen_keyword_only_and_carry_their_identity(kind: type[Record]) -> None:
    record = kind()
    with pytest.raises(AttributeError):
        record.sequence = 1  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        kind("positional")  # type: ignore[call-arg]  # that is the point
    assert (record.instance, record.epoch, record.sequence) == (msgspec.UNSET,) * 3
    assert not kind.__struct_config__.gc


def test_every_kind_of_record_has_a_method_to_collect_it() -> None:
    assert COLLECT_METHODS.keys() == RECORD_TYPES.keys()


def test_tags_find_the_first_well_formed_one() -> None:
    tags = TagStore(["plain", "a=1=2", "a=3", "b="])
    assert tags.get("a") == "1=2"
    assert tags.get("b") == ""
    assert tags.get("plain") is None
    assert str(tags) == "plain a=1=2 a=3 b="
    assert len(tags) == 4


def test_tags_merge_what_is_new() -> None:
    tags = TagStore(["a=1"])
    assert tags.merge(TagStore(["a=2", "b=1", "b=2", "plain"])) == 1
    assert tags.slice == ("a=1", "b=1")


def test_tags_are_copied() -> None:
    mine = ["a=1"]
    tags = TagStore(mine)
    mine.append("b=2")
    copy = tags.copy()
    copy.append_key_value("c", "3")
    assert tags == TagStore(["a=1"])
    assert copy.slice == ("a=1", "c=3")
    assert TagStore().is_empty()
    assert TagStore.from_map({"k": "v"}).slice == ("k=v",)
    assert tags != "a=1"
    assert repr(tags) == "TagStore(['a=1'])"


def test_extended_map_says_whether_it_found() -> None:
    addresses = ExtendedMap(bridge="10.0.0.1")
    assert addresses.lookup("bridge") == ("10.0.0.1", True)
    assert addresses.copy().lookup("eth0") == ("", False)
    assert isinstance(addresses.copy(), ExtendedMap)
