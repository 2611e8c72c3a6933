"""What ``observe`` is asked and answers."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ObserveArguments", "ObserveResult"]


class ObserveArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``observe``.

    Attributes:
        mode: ``on``: nothing is dropped by the policy. ``off``: it is enforced, whatever the
            files say. ``configured``: as the configuration and the policy say.
    """

    mode: Literal["on", "off", "configured"]


class ObserveResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force now.

    Attributes:
        observe_only: Whether everything is only observed.
        observe_by: What decides: ``control``, ``configuration`` or ``policy``; empty if nothing
            ever spoke of observing.
        revision_before: The policy that was in force.
        revision: The policy that is in force.
    """

    observe_only: bool
    observe_by: str
    revision_before: str
    revision: str
