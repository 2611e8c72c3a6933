"""The options of the Loki collector."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from trireme_collector import option_addresses  # noqa: TC001  msgspec reads the annotations
from trireme_collector.http_client import HttpTarget
from trireme_collector.strict_toml import Unfit

__all__ = ["PUSH_PATH", "LokiOptions"]

PUSH_PATH = "/loki/api/v1/push"
"""Where Loki takes pushes, below its URL."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TENANT = re.compile(r"[A-Za-z0-9!._*'()-]{1,150}")


def _check_name(value: object) -> None:
    text = str(value)
    if not _NAME.fullmatch(text) or text.startswith("__"):
        raise Unfit(
            "a name of letters, digits and '_' that does not begin with a digit or '__'",
            found="another name" if text else "an empty name",
        )


def _check_value(value: object) -> None:
    text = str(value)
    if not text or not text.isprintable() or len(text) > 2048:
        raise Unfit("1 to 2048 printable characters", found="another text")


def _check_tenant(value: object) -> None:
    # A '|' would make several tenants of one.
    if not _TENANT.fullmatch(str(value)) or str(value) in {".", ".."}:
        raise Unfit("the name of a tenant, as Loki allows it", found="another text")


_LabelName: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_name})]
_LabelValue: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_value})]
_Tenant: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_tenant})]


class LokiOptions(HttpTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``loki``.

    Attributes:
        url: Where Loki is, without ``/loki/api/v1/push``. No user, password or other secret may
            stand in it.
        tenant: The tenant, if Loki serves several.
        format: ``netobserv`` for flow logs; then records that are no flows are not taken.
            ``json`` for the JSON form of all records.
        agent_ip: The address of this host, for ``AgentIP`` in flow logs.
        labels: The fields that become labels; by default those that the format of NetObserv has
            for it, or ``type`` and ``namespace``. Each combination of values is a stream: choose
            fields that have few.
        static_labels: Labels that every stream has; by default
            ``app="netobserv-flowcollector"``, as NetObserv has it, or ``app="trireme-collector"``.
        structured_metadata: Whether lines carry the identity of their record (``instance``,
            ``epoch``, ``sequence``) as structured metadata. Loki knows that from version 3 on.
        encoding: How a push is written: protobuf in snappy, or JSON.
        compression: How JSON is compressed.
        max_body_bytes: The largest body before compression, about; a larger batch becomes several
            requests.
    """

    tenant: _Tenant = ""
    format: Literal["netobserv", "json"] = "netobserv"
    agent_ip: option_addresses.IpAddress = ""
    labels: list[_LabelName] | UnsetType = UNSET
    static_labels: dict[_LabelName, _LabelValue] | UnsetType = UNSET
    structured_metadata: bool = True
    encoding: Literal["protobuf", "json"] = "protobuf"
    compression: Literal["none", "gzip"] = "none"
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_073_741_824)] = 1_048_576

    def __post_init__(self) -> None:
        """Refuse options that exclude each other, and those that could forge a request.

        Raises:
            ValueError: They do.
        """
        super().__post_init__()
        parts = urlsplit(self.url)
        if parts.path.rstrip("/").endswith("/push"):
            msg = f"a url without {PUSH_PATH}: that is added"
            raise ValueError(msg)
        if parts.query:
            raise ValueError("a url without '?'")
        if "x-scope-orgid" in {name.lower() for name in (*self.headers, *self.header_files)}:
            raise ValueError("tenant instead of the header X-Scope-OrgID")
        if self.compression != "none" and self.encoding != "json":
            raise ValueError("compression only beside encoding = json: protobuf goes in snappy")
        if self.agent_ip and self.format != "netobserv":
            raise ValueError("format = netobserv beside agent_ip")
        if self.static_labels == {}:
            raise ValueError("at least one label in static_labels: Loki wants one for each stream")
        for name, value in (self.static_labels or {}).items():
            _check_name(name)
            _check_value(value)
