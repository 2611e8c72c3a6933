"""Which messages are wanted: by type and by endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_collector.errors import ConfigError
from trireme_datapath.monitor.profiles import PROFILE_1_16, Profile, find_profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EventFilter", "event_filter", "filter_of"]

_MAX_ENDPOINT: Final = 0xFFFF
_KEYS: Final = ("types", "from", "to", "related")


class EventFilter(Struct, frozen=True, kw_only=True):
    """Conditions that all have to hold; an empty set is none.

    Attributes:
        types: The numbers of types.
        sources: Endpoints that a message comes from.
        destinations: Endpoints that a message goes to.
        related: Endpoints that a message comes from or goes to.
    """

    types: frozenset[int] = frozenset()
    sources: frozenset[int] = frozenset()
    destinations: frozenset[int] = frozenset()
    related: frozenset[int] = frozenset()

    def accepts(self, message_type: int, endpoints: tuple[int, int]) -> bool:
        """Tell whether a message is wanted.

        Args:
            message_type: The number of its type.
            endpoints: Source and destination; 0 where it has none.
        """
        if self.types and message_type not in self.types:
            return False
        source, destination = endpoints
        if self.sources and source not in self.sources:
            return False
        if self.destinations and destination not in self.destinations:
            return False
        if not self.related:
            return True
        return source in self.related or destination in self.related


def event_filter(
    *,
    types: Iterable[str] = (),
    sources: Iterable[str | int] = (),
    destinations: Iterable[str | int] = (),
    related: Iterable[str | int] = (),
    profile: str | Profile = PROFILE_1_16,
) -> EventFilter:
    """Make a filter of what somebody wrote.

    Args:
        types: Names of types.
        sources: Endpoints that a message comes from.
        destinations: Endpoints that a message goes to.
        related: Endpoints that a message comes from or goes to.
        profile: The version that decides about names and numbers.

    Raises:
        ConfigError: There is no such type or no such endpoint.
    """
    version = find_profile(profile)
    return EventFilter(
        types=frozenset(_message_type(name, version) for name in types),
        sources=frozenset(_endpoint(number, version) for number in sources),
        destinations=frozenset(_endpoint(number, version) for number in destinations),
        related=frozenset(_endpoint(number, version) for number in related),
    )


def filter_of(
    conditions: EventFilter | Mapping[str, Iterable[str | int]] | None, profile: Profile
) -> EventFilter | None:
    """Take a filter, or the conditions of one: types, from, to and related."""
    if conditions is None or isinstance(conditions, EventFilter):
        return conditions
    if unknown := sorted(set(conditions) - set(_KEYS)):
        raise ConfigError(f"a filter has no {unknown[0]!r}; it has {', '.join(_KEYS)}")
    types, sources, destinations, related = (conditions.get(key) or () for key in _KEYS)
    return event_filter(
        types=map(str, types),
        sources=sources,
        destinations=destinations,
        related=related,
        profile=profile,
    )


def _message_type(name: str, profile: Profile) -> int:
    number = profile.message_names.get(name)
    if number is None:
        names = profile.message_names
        known = " ".join(f"{known}:{names[known]:d}" for known in sorted(names))
        raise ConfigError(
            f"Unknown type ({name}). Please use one of the following ones map[{known}]"
        )
    return number


def _endpoint(number: str | int, profile: Profile) -> int:
    """Read the number of an endpoint; 1.9 takes any number and keeps its last 16 bits."""
    text = str(number)
    digits = text if profile.checks_endpoints else text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ConfigError(f'{_parser(profile)}: parsing "{text}": invalid syntax')
    # A longer number is out of range, whatever its digits.
    value = int(text) if len(digits) < 20 else 1 << 64
    if value > (_MAX_ENDPOINT if profile.checks_endpoints else (1 << 63) - 1):
        raise ConfigError(f'{_parser(profile)}: parsing "{text}": value out of range')
    return value & _MAX_ENDPOINT


def _parser(profile: Profile) -> str:
    """Name what Cilium reads the number with, as it stands in the error."""
    return "strconv.ParseUint" if profile.checks_endpoints else "strconv.Atoi"
