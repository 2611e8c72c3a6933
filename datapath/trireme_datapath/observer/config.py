"""The section ``[observer]``: where the flows of this host can be watched."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trireme_datapath.grpc_server import ListenConfig
from trireme_datapath.observer.core import DEFAULT_MAX_FLOWS

__all__ = ["DEFAULT_SOCKET", "ObserverConfig"]

DEFAULT_SOCKET = "/run/trireme-collector/observer.sock"
"""Where ``trireme-collector observe`` looks for an agent."""


class ObserverConfig(ListenConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where flows can be watched, by ``trireme-collector observe`` or ``hubble observe``.

    Attributes:
        max_flows: How many of the last flows are kept; one takes up to 3 KiB.
        max_rate: How many flows are sent in a second, to all clients together; 0 for any number.
            What a client does not get in time is lost for it, and it is told how much.
    """

    max_flows: Annotated[int, msgspec.Meta(ge=1, le=262_144)] = DEFAULT_MAX_FLOWS
    max_rate: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 20_000
