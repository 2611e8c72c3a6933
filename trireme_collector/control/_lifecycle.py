"""What ``unit`` and ``user`` are asked and answer."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

__all__ = ["UnitArguments", "UnitResult", "UserArguments", "UserResult"]

_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
_Texts: TypeAlias = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=256)]


class UnitArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``unit``.

    Attributes:
        context_id: The context of the unit.
        event: What became of it. What ``start`` and ``update`` tell replaces what was told before.
        addresses: Its addresses, or networks, by interface or network; ``bridge`` is the primary
            one. Packets from and to them belong to it.
        tags: Its tags, ``key=value``.
        interfaces: Interfaces of this host that it is behind; what passes them belongs to it.
        cgroups: Paths of control groups; what their processes send belongs to it.
    """

    context_id: _Text
    event: Literal["start", "update", "delete", "forcestop"]
    addresses: Annotated[dict[_Text, _Text], msgspec.Meta(max_length=64)] = {}
    tags: _Texts = ()
    interfaces: _Texts = ()
    cgroups: _Texts = ()


class UnitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was reported.

    Attributes:
        event: The event in the record; empty when nothing was new, and nothing reported.
    """

    event: str


class UserArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``user``.

    Attributes:
        claims: What is known of the user, ``key=value``.
        namespace: The management namespace.
    """

    claims: _Texts
    namespace: Annotated[str, msgspec.Meta(max_length=1_024)] = ""


class UserResult(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is.

    Attributes:
        id: The id of the user.
        reported: Whether a record was made; a user is reported once in ten minutes.
    """

    id: str
    reported: bool
