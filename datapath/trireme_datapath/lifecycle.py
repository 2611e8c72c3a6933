"""Processing units and users that come, change and go: one event for each, once.

Events have Trireme's names. What is told twice is told once: a unit that starts again as it was is
no event, one that starts again otherwise is updated. A user is told once in ten minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.hashing import stats_user_hash
from trireme_collector.records import ContainerEvent, ContainerRecord, UserRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trireme_collector.records import Record
    from trireme_datapath.policy import Policy, Unit

__all__ = ["MAX_UNITS", "MAX_USERS", "USER_WINDOW_NS", "UnitLifecycle", "UserLog"]

MAX_UNITS: Final = 65_536
"""Units of others that are remembered; those of the policy are not counted."""
MAX_USERS: Final = 65_536
"""Users that are remembered; beyond, the one told longest ago is forgotten."""
USER_WINDOW_NS: Final = 600_000_000_000
"""How long a user is not told again."""

_Known = tuple[dict[str, str], tuple[str, ...]]  # addresses by name, tags


class UnitLifecycle:
    """Tells what becomes of processing units.

    Units are known by their context. Those of the policy start with it; others are told of by who
    runs them. A unit that no rule is about is ignored, and said to be.

    Args:
        report: Takes the records.
    """

    def __init__(self, report: Callable[[Record], None]) -> None:
        """Start without units."""
        self._report = report
        self._of_policy: dict[str, Unit] = {}
        self._known: dict[str, _Known] = {}

    def enter_policy(self, policy: Policy) -> None:
        """Tell which units of a policy are new, changed or gone."""
        before, self._of_policy = self._of_policy, {u.context_id: u for u in policy.units}
        for context, unit in self._of_policy.items():
            if context not in before:
                self.start(context, _addresses(unit), unit.tags)
            elif before[context] != unit:
                now = self._known[context] = (_addresses(unit), unit.tags)
                self._tell(context, ContainerEvent.UPDATE, *now)
        for context in before.keys() - self._of_policy.keys():
            if self._known.pop(context, None) is not None:
                self._tell(context, ContainerEvent.DELETE)

    def adopt(self, policy: Policy) -> None:
        """Take the units of a policy as told of by the program before."""
        self._of_policy = {unit.context_id: unit for unit in policy.units}
        self._known = {c: (_addresses(unit), unit.tags) for c, unit in self._of_policy.items()}

    def start(
        self, context: str, addresses: Mapping[str, str], tags: Iterable[str] = ()
    ) -> ContainerEvent | None:
        """Take a unit that began to run.

        Args:
            context: Its local id.
            addresses: Its addresses by interface or network; ``bridge`` is the primary one.
            tags: Its tags, ``key=value``.

        Returns:
            The event that was told; None when it was known as it is.
        """
        now: _Known = (dict(addresses), tuple(tags))
        known = self._known.get(context)
        if known == now:
            return None
        managed = context in self._of_policy
        others = len(self._known) - len(self._of_policy)
        if known is None and not managed and others >= MAX_UNITS:
            return self._tell(context, ContainerEvent.FAILED, *now)
        self._known[context] = now
        if known is not None:
            return self._tell(context, ContainerEvent.UPDATE, *now)
        return self._tell(
            context, ContainerEvent.START if managed else ContainerEvent.IGNORED, *now
        )

    def update(
        self, context: str, addresses: Mapping[str, str], tags: Iterable[str] = ()
    ) -> ContainerEvent | None:
        """Take a unit that changed; one that was not known starts."""
        return self.start(context, addresses, tags)

    def fail(self, context: str) -> ContainerEvent | None:
        """Take a unit that was stopped because it could not be policed."""
        self._known.pop(context, None)
        return self._tell(context, ContainerEvent.FAILED)

    def delete(self, context: str) -> ContainerEvent | None:
        """Take a unit that is gone; tell so even if nobody knew it."""
        known = self._known.pop(context, None) is not None
        return self._tell(
            context, ContainerEvent.DELETE if known else ContainerEvent.DELETE_UNKNOWN
        )

    def _tell(
        self,
        context: str,
        event: ContainerEvent,
        addresses: Mapping[str, str] | None = None,
        tags: tuple[str, ...] = (),
    ) -> ContainerEvent:
        self._report(
            ContainerRecord(
                context_id=context, ip_address=dict(addresses or {}), tags=tags, event=event.value
            )
        )
        return event


class UserLog:
    """Tells which users were seen, each once in ten minutes.

    Args:
        report: Takes the records.
    """

    def __init__(self, report: Callable[[Record], None]) -> None:
        """Start without users."""
        self._report = report
        self._told: dict[tuple[str, str], int] = {}

    def seen(self, namespace: str, claims: Iterable[str], now_ns: int) -> tuple[str, bool]:
        """Take a user.

        Args:
            namespace: The management namespace.
            claims: What is known of the user, ``key=value``.
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            The id of the user, for endpoints; and whether a record was made.
        """
        record = stats_user_hash(UserRecord(namespace=namespace, claims=tuple(claims)))
        key = (namespace, record.id)
        told_ns = self._told.get(key)
        if told_ns is not None and 0 <= now_ns - told_ns < USER_WINDOW_NS:
            return record.id, False
        self._told.pop(key, None)
        if len(self._told) >= MAX_USERS:
            del self._told[next(iter(self._told))]
        self._told[key] = now_ns
        self._report(record)
        return record.id, True


def _addresses(unit: Unit) -> dict[str, str]:
    """Give the single addresses of a unit of the policy, the first as the primary one."""
    single = [str(one).partition("/")[0] for one in unit.select.addresses if one.is_host]
    names = ["bridge", *(f"bridge-{number}" for number in range(2, len(single) + 1))]
    return dict(zip(names, single, strict=False))
