"""The options of the HTTP collector."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from trireme_collector import option_addresses, option_files, option_secrets
from trireme_collector.http_client import HttpTarget

__all__ = ["HttpOptions"]


class HttpOptions(HttpTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``http``.

    Attributes:
        method: The method of the requests.
        format: ``json`` sends one array a request, ``ndjson`` one record a line, ``netobserv``
            one flow log a line; then records that are no flows are not taken.
        agent_ip: The address of this host, for ``AgentIP`` in flow logs.
        compression: Whether the body is compressed.
        max_body_bytes: The largest body before compression; a larger batch becomes several
            requests.
        signing_secret_file: The file with the ``whsec_`` secret by which requests are signed as
            Standard Webhooks say. A second line signs a second time, to change secrets.
        signing_secret_env: The environment variable with it, instead.
        signing_secret_credential: The systemd credential with it, instead.
    """

    method: Literal["POST", "PUT"] = "POST"
    format: Literal["json", "ndjson", "netobserv"] = "json"
    agent_ip: option_addresses.IpAddress = ""
    compression: Literal["none", "gzip"] = "none"
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_073_741_824)] = 1_048_576
    signing_secret_file: option_files.ReadableFile = ""
    signing_secret_env: option_secrets.VariableName = ""
    signing_secret_credential: option_secrets.CredentialName = ""

    def __post_init__(self) -> None:
        """Refuse options that exclude each other, and those that could forge a request.

        Raises:
            ValueError: They do.
        """
        super().__post_init__()
        option_secrets.check_sources(self, "signing_secret")
        if self.agent_ip and self.format != "netobserv":
            raise ValueError("format = netobserv beside agent_ip")
