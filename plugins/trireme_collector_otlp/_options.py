"""The options of the OTLP collector."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from trireme_collector import option_addresses  # noqa: TC001  msgspec reads the annotations
from trireme_collector.http_client import HttpTarget
from trireme_collector.strict_toml import Unfit

__all__ = ["LOGS_PATH", "OtlpOptions"]

LOGS_PATH = "/v1/logs"
"""Where receivers take logs, below their URL."""


def _check_text(value: object) -> None:
    text = str(value)
    if not text or not text.isprintable() or len(text) > 1024:
        raise Unfit("1 to 1024 printable characters", found="another text")


_Text: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": _check_text})]


class OtlpOptions(HttpTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``otlp``.

    Attributes:
        url: Where the receiver is, without ``/v1/logs``. No user, password or other secret may
            stand in it.
        format: ``json`` for the JSON form of all records, ``netobserv`` for flow logs; then
            records that are no flows are not taken.
        agent_ip: The address of this host, for ``AgentIP`` in flow logs.
        resource: Attributes of the resource, beside or instead of ``service.name`` and
            ``service.instance.id``.
        encoding: How a request is written: protobuf, or JSON.
        compression: How it is compressed.
        max_body_bytes: The largest body before compression, about; a larger batch becomes several
            requests.
    """

    format: Literal["json", "netobserv"] = "json"
    agent_ip: option_addresses.IpAddress = ""
    resource: dict[_Text, _Text] = msgspec.field(default_factory=dict)
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
        if parts.path.rstrip("/").endswith(LOGS_PATH):
            msg = f"a url without {LOGS_PATH}: that is added"
            raise ValueError(msg)
        if parts.query:
            raise ValueError("a url without '?'")
        if self.agent_ip and self.format != "netobserv":
            raise ValueError("format = netobserv beside agent_ip")
