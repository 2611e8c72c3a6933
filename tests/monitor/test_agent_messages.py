"""What an agent says about itself: the JSON is that of Cilium."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from tests.monitor.cilium_vectors import document
from trireme_datapath.monitor import agent_messages
from trireme_datapath.monitor.agent_messages import (
    NotifiedEndpoint,
    NotifiedMapping,
    NotifiedService,
)

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from trireme_datapath.monitor import AgentNotify

MESSAGES = document()["agent_messages"]


def address(text: str | None) -> IPv4Address | IPv6Address | None:
    return None if text is None else ip_address(text)


def mapping(arguments: dict[str, Any]) -> NotifiedMapping:
    return NotifiedMapping(
        cidr=arguments["cidr"],
        identity=arguments["id"],
        old_identity=arguments["old_id"],
        host_ip=address(arguments["host_ip"]),
        old_host_ip=address(arguments["old_host_ip"]),
        encrypt_key=arguments["encrypt_key"],
        namespace=arguments["namespace"],
        pod_name=arguments["pod_name"],
    )


def endpoint(arguments: dict[str, Any]) -> NotifiedEndpoint:
    values = arguments["endpoint"]
    return NotifiedEndpoint(**values | {"labels": tuple(values["labels"] or ())})


def service(arguments: dict[str, Any]) -> NotifiedService:
    def place(value: dict[str, Any]) -> tuple[IPv4Address | IPv6Address | None, int]:
        return address(value["ip"]), value["port"]

    backends = arguments["backends"]
    return NotifiedService(
        id=arguments["id"],
        frontend=place(arguments["frontend"]),
        backends=None if backends is None else tuple(map(place, backends)),
        type=arguments["type"],
        external_traffic_policy=arguments["ext_traffic_policy"],
        internal_traffic_policy=arguments["int_traffic_policy"],
        name=arguments["name"],
        namespace=arguments["namespace"],
    )


def made(call: str, a: dict[str, Any]) -> AgentNotify:
    """Call what the original is called."""
    match call:
        case "StartMessage":
            return agent_messages.start_message(datetime.fromisoformat(a["time"]))
        case "PolicyUpdateMessage":
            labels = a["labels"] or ()
            return agent_messages.policy_update_message(a["num_rules"], labels, a["revision"])
        case "PolicyDeleteMessage":
            labels = a["labels"] or ()
            return agent_messages.policy_delete_message(a["deleted"], labels, a["revision"])
        case "EndpointRegenMessage":
            return agent_messages.endpoint_regen_message(endpoint(a), a["error"])
        case "EndpointCreateMessage":
            return agent_messages.endpoint_create_message(endpoint(a))
        case "EndpointDeleteMessage":
            return agent_messages.endpoint_delete_message(endpoint(a))
        case "IPCacheUpsertedMessage":
            return agent_messages.ip_cache_upserted_message(mapping(a))
        case "IPCacheDeletedMessage":
            return agent_messages.ip_cache_deleted_message(mapping(a))
        case "ServiceUpsertMessage":
            return agent_messages.service_upsert_message(service(a))
        case "ServiceDeleteMessage":
            return agent_messages.service_delete_message(a["id"])
    raise AssertionError(call)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message["call"]))
def test_message(message: dict[str, Any]) -> None:
    notification = made(message["call"], message["args"])
    assert (notification.type, notification.text) == (message["type"], message["text"])


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2020, 10, 1, 2, 3, 4, 500, UTC), "2020-10-01 02:03:04.0005 +0000 UTC"),
        (
            datetime(2020, 10, 1, 2, 3, 4, 0, timezone(timedelta(hours=-3, minutes=-30))),
            "2020-10-01 02:03:04 -0330 -0330",
        ),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01 00:00:00 +0000 UTC"),
    ],
)
def test_1_9_writes_the_time_of_a_start_as_go_prints_it(moment: datetime, text: str) -> None:
    assert agent_messages.start_message(moment, "1.9").text == f'{{"time":"{text}"}}'


def test_a_year_has_four_digits() -> None:
    moment = datetime(1, 2, 3, 4, 5, 6, 120_000, UTC)
    assert agent_messages.start_message(moment).text == '{"time":"0001-02-03T04:05:06.12Z"}'


def test_1_9_knows_one_traffic_policy_of_a_service() -> None:
    service = NotifiedService(id=1, frontend=(None, 0), external_traffic_policy="Local")
    assert agent_messages.service_upsert_message(service, "1.9").text == (
        '{"id":1,"frontend-address":{"ip":"","port":0},"backend-addresses":null,'
        '"traffic-policy":"Local"}'
    )


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        agent_messages.start_message(datetime(2020, 10, 1))  # noqa: DTZ001  that is the point
