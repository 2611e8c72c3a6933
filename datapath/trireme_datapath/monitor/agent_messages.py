"""The notifications that an agent sends about itself, made of what they are about."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from trireme_datapath.monitor._go_text import ip_text, json_text
from trireme_datapath.monitor.messages.agent import AgentNotify
from trireme_datapath.monitor.profiles import PROFILE_1_16, Profile, find_profile
from trireme_datapath.monitor.tables.agent_events import AgentEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "NotifiedEndpoint",
    "NotifiedMapping",
    "NotifiedService",
    "endpoint_create_message",
    "endpoint_delete_message",
    "endpoint_regen_message",
    "ip_cache_deleted_message",
    "ip_cache_upserted_message",
    "policy_delete_message",
    "policy_update_message",
    "service_delete_message",
    "service_upsert_message",
    "start_message",
]


class NotifiedEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint that something happened to."""

    id: int = 0
    labels: tuple[str, ...] = ()
    pod_name: str = ""
    namespace: str = ""


class NotifiedMapping(Struct, frozen=True, kw_only=True):
    """An entry of the cache that maps addresses to identities."""

    cidr: str
    identity: int
    old_identity: int | None = None
    host_ip: IPv4Address | IPv6Address | None = None
    old_host_ip: IPv4Address | IPv6Address | None = None
    encrypt_key: int = 0
    namespace: str = ""
    pod_name: str = ""


class NotifiedService(Struct, frozen=True, kw_only=True):
    """A service with its addresses; each is an address and a port."""

    id: int
    frontend: tuple[IPv4Address | IPv6Address | None, int]
    backends: tuple[tuple[IPv4Address | IPv6Address | None, int], ...] | None = None
    type: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str = ""
    name: str = ""
    namespace: str = ""


def start_message(moment: datetime, profile: str | Profile = PROFILE_1_16) -> AgentNotify:
    """Say that the agent started; the time has to know its zone."""
    time = _rfc3339(moment) if find_profile(profile).structured_labels else _go_time(moment)
    return _notify(AgentEvent.START, {"time": time})


def endpoint_regen_message(endpoint: NotifiedEndpoint, error: str | None = None) -> AgentNotify:
    """Say that the programs of an endpoint were made anew, or that this failed."""
    failed = AgentEvent.ENDPOINT_REGENERATE_FAILURE
    return _notify(
        AgentEvent.ENDPOINT_REGENERATE_SUCCESS if error is None else failed,
        _present(id=endpoint.id, labels=endpoint.labels, error=error),
    )


def endpoint_create_message(endpoint: NotifiedEndpoint) -> AgentNotify:
    """Say that an endpoint was created."""
    return _notify(AgentEvent.ENDPOINT_CREATED, _endpoint(endpoint))


def endpoint_delete_message(endpoint: NotifiedEndpoint) -> AgentNotify:
    """Say that an endpoint was deleted."""
    return _notify(AgentEvent.ENDPOINT_DELETED, _endpoint(endpoint))


def policy_update_message(rule_count: int, labels: Sequence[str], revision: int) -> AgentNotify:
    """Say that rules were added or changed."""
    return _notify(AgentEvent.POLICY_UPDATED, _policy(rule_count, labels, revision))


def policy_delete_message(rule_count: int, labels: Sequence[str], revision: int) -> AgentNotify:
    """Say that rules were deleted."""
    return _notify(AgentEvent.POLICY_DELETED, _policy(rule_count, labels, revision))


def ip_cache_upserted_message(mapping: NotifiedMapping) -> AgentNotify:
    """Say that an address has an identity, or another one."""
    return _notify(AgentEvent.IPCACHE_UPSERTED, _mapping(mapping))


def ip_cache_deleted_message(mapping: NotifiedMapping) -> AgentNotify:
    """Say that an address has no identity any more."""
    return _notify(AgentEvent.IPCACHE_DELETED, _mapping(mapping))


def service_upsert_message(
    service: NotifiedService, profile: str | Profile = PROFILE_1_16
) -> AgentNotify:
    """Say that a service was added or changed."""
    backends = service.backends
    policies = {"traffic-policy": service.external_traffic_policy}
    if find_profile(profile).structured_labels:
        policies["ext-traffic-policy"] = service.external_traffic_policy
        policies["int-traffic-policy"] = service.internal_traffic_policy
    form: dict[str, object] = {
        "id": service.id,
        "frontend-address": _address(service.frontend),
        "backend-addresses": None if backends is None else [_address(b) for b in backends],
    }
    rest = {"type": service.type, **policies, "name": service.name, "namespace": service.namespace}
    return _notify(AgentEvent.SERVICE_UPSERTED, form | {k: v for k, v in rest.items() if v})


def service_delete_message(service_id: int) -> AgentNotify:
    """Say that a service was deleted."""
    return _notify(AgentEvent.SERVICE_DELETED, {"id": service_id})


def _notify(event: AgentEvent, form: dict[str, object]) -> AgentNotify:
    return AgentNotify(type=event.value, text=json_text(form))


def _present(**values: object) -> dict[str, object]:
    """Leave out what is empty."""
    return {key.replace("_", "-"): value for key, value in values.items() if value}


def _endpoint(endpoint: NotifiedEndpoint) -> dict[str, object]:
    return _present(
        id=endpoint.id,
        labels=endpoint.labels,
        pod_name=endpoint.pod_name,
        namespace=endpoint.namespace,
    )


def _policy(rule_count: int, labels: Sequence[str], revision: int) -> dict[str, object]:
    return _present(labels=tuple(labels), revision=revision) | {"rule_count": rule_count}


def _mapping(mapping: NotifiedMapping) -> dict[str, object]:
    form: dict[str, object] = {"cidr": mapping.cidr, "id": mapping.identity}
    if mapping.old_identity is not None:
        form["old-id"] = mapping.old_identity
    form |= _present(host_ip=_ip(mapping.host_ip), old_host_ip=_ip(mapping.old_host_ip))
    form["encrypt-key"] = mapping.encrypt_key
    return form | _present(namespace=mapping.namespace, pod_name=mapping.pod_name)


def _address(address: tuple[IPv4Address | IPv6Address | None, int]) -> dict[str, object]:
    return {"ip": _ip(address[0]), "port": address[1]}


def _ip(address: IPv4Address | IPv6Address | None) -> str:
    return "" if address is None else ip_text(address.packed)


def _moment(moment: datetime, separator: str) -> str:
    """Write date and time without the zone, and the fraction without zeros at its end."""
    # The C library writes a year before 1000 with fewer digits, isoformat does not.
    whole = moment.replace(tzinfo=None, microsecond=0).isoformat(separator)
    return whole + (f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else "")


def _offset(moment: datetime) -> tuple[str, int, int]:
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{moment} has no time zone; give it one")
    minutes = offset // timedelta(minutes=1)
    return ("-" if minutes < 0 else "+", *divmod(abs(minutes), 60))


def _rfc3339(moment: datetime) -> str:
    sign, hours, minutes = _offset(moment)
    zone = f"{sign}{hours:02d}:{minutes:02d}" if hours or minutes else "Z"
    return f"{_moment(moment, 'T')}{zone}"


def _go_time(moment: datetime) -> str:
    """Write a time as Go prints it: the offset, and the name of the zone or the offset again."""
    sign, hours, minutes = _offset(moment)
    offset = f"{sign}{hours:02d}{minutes:02d}"
    name = "UTC" if not (hours or minutes) else offset
    return f"{_moment(moment, ' ')} {offset} {name}"
