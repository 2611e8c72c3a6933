"""Processing units and users that come, change and go: one event for each, once.

Events have Trireme's names. What is told twice is told once: a unit that starts again as it was is
no event, one that starts again otherwise is updated. A user is told once in ten minutes.

What is told of a unit is more than an event: from then on packets belong to it by the addresses,
interfaces and control groups that were told, until it is told to be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from trireme_collector.errors import ConfigError
from trireme_collector.hashing import stats_user_hash
from trireme_collector.records import ContainerEvent, ContainerRecord, UserRecord
from trireme_datapath.policy import Policy
from trireme_datapath.policy.told import ToldUnit, read_told, settle_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trireme_collector.records import Record
    from trireme_datapath.policy import Unit

__all__ = [
    "MAX_UNITS",
    "MAX_USERS",
    "USER_WINDOW_NS",
    "KnownUnit",
    "UnitLifecycle",
    "UserLog",
]

MAX_UNITS: Final = 65_536
"""Units of others that are remembered; those of the policy are not counted."""
MAX_USERS: Final = 65_536
"""Users that are remembered; beyond, the one told longest ago is forgotten."""
USER_WINDOW_NS: Final = 600_000_000_000
"""How long a user is not told again."""


class KnownUnit(Struct, frozen=True, kw_only=True, gc=False):
    """What was last told of a unit.

    Attributes:
        addresses: Its addresses by interface or network.
        tags: Its tags.
        told: What was told of it beside the policy; None if it is there by the policy alone.
    """

    addresses: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    told: ToldUnit | None = None


class UnitLifecycle:
    """Tells what becomes of processing units.

    Units are known by their context. Those of the policy start with it, unless they are to be told
    of (``select.told``); others are told of by who runs them. A unit that no rule is about is
    ignored, and said to be.

    Args:
        report: Takes the records.
        problem_of: Says why a unit of the policy cannot be policed by what was told of it.
        tell_policy: Whether units of the policy are told of as well.

    Attributes:
        changed: Called when other packets belong to units than before: `told` has changed.
    """

    def __init__(
        self,
        report: Callable[[Record], None],
        *,
        problem_of: Callable[[ToldUnit], str] = lambda _: "",
        tell_policy: bool = True,
    ) -> None:
        """Start without units."""
        self._report = report
        self.changed: Callable[[], None] = lambda: None
        self._problem_of = problem_of
        self._tell_policy = tell_policy
        self._policy = Policy()
        self._of_policy: dict[str, Unit] = {}
        self._known: dict[str, KnownUnit] = {}

    @property
    def told(self) -> tuple[ToldUnit, ...]:
        """What was told of units, in the order in which it was."""
        return tuple(one.told for one in self._known.values() if one.told is not None)

    @property
    def known(self) -> dict[str, KnownUnit]:
        """Everything that was told; `adopt` goes on with it."""
        return dict(self._known)

    def settled_for(self, policy: Policy) -> tuple[ToldUnit, ...]:
        """Give the told units as they fit a policy; those that do not fit are left out.

        This is what `trireme_datapath.policy.compile_policy` takes.
        """
        settled, _ = settle_told(policy, self.told)
        return tuple(settled)

    def enter_policy(self, policy: Policy) -> None:
        """Tell which units of a policy are new, changed or gone."""
        self._policy = policy
        before, self._of_policy = self._of_policy, {u.context_id: u for u in policy.units}
        for context, unit in self._of_policy.items():
            known = self._known.get(context)
            is_new = context not in before
            if not is_new and before[context] == unit:
                continue
            if known is None and (unit.select.told or not is_new):
                continue  # nobody has told of it yet, or it is known to be gone
            if known is None or known.told is None:
                known = self._known[context] = _of(unit)
                self._tell_known(context, ContainerEvent.START if is_new else ContainerEvent.UPDATE)
            else:
                self._tell_known(context, ContainerEvent.UPDATE)
        for context in before.keys() - self._of_policy.keys():
            known = self._known.get(context)
            if known is not None and known.told is not None:
                self._tell_known(context, ContainerEvent.IGNORED)
            elif self._known.pop(context, None) is not None and self._tell_policy:
                self._tell(context, ContainerEvent.DELETE)
        self._settle_all()

    def _tell_known(self, context: str, event: ContainerEvent) -> None:
        known = self._known[context]
        if self._tell_policy or known.told is not None:
            self._tell(context, event, known)

    def _settle_all(self) -> None:
        """Lay what was told over the policy of now; what does not fit any more is stopped."""
        settled, refused = settle_told(self._policy, self.told)
        for unit in settled:
            known = self._known[unit.context_id]
            if unit.context_id in self._of_policy and known.told is not None:
                told = _marked(known.told, dict(unit.cgroups))
                self._known[unit.context_id] = _with(known, told)
        for context in refused:
            del self._known[context]
            self._tell(context, ContainerEvent.FAILED)

    def adopt(self, policy: Policy, known: Mapping[str, KnownUnit] | None = None) -> None:
        """Take the units of a policy as told of by the program before.

        Args:
            policy: The policy in force.
            known: What that program knew; the units of the policy by default.
        """
        self._policy = policy
        self._of_policy = {unit.context_id: unit for unit in policy.units}
        if known is None:
            own = self._of_policy.items()
            known = {c: _of(unit) for c, unit in own if not unit.select.told}
        self._known = dict(known)

    def start(
        self,
        context: str,
        addresses: Mapping[str, str],
        tags: Iterable[str] = (),
        *,
        interfaces: Iterable[str] = (),
        cgroups: Iterable[str] = (),
    ) -> ContainerEvent | None:
        """Take a unit that began to run.

        Args:
            context: Its local id.
            addresses: Its addresses by interface or network; ``bridge`` is the primary one.
            tags: Its tags, ``key=value``.
            interfaces: Interfaces of this host that it is behind.
            cgroups: Control groups that its processes are in.

        Returns:
            The event that was told; None when it was known as it is.

        Raises:
            ConfigError: Something told is not what it should be, or somebody else's. A unit that
                was not known is told to be stopped, one that was known stays as it was.
        """
        wanted = read_told(context, addresses.values(), interfaces, cgroups, tags)
        known = self._known.get(context)
        now = KnownUnit(addresses=dict(addresses), tags=wanted.tags, told=wanted)
        managed = context in self._of_policy
        if known is not None and _same(known, now):
            return None
        others = len(self._known) - len(self._of_policy)
        if known is None and not managed and others >= MAX_UNITS:
            return self._tell(context, ContainerEvent.FAILED, now)
        if known is not None and known.told is not None:
            marks = dict(known.told.cgroups)
            wanted = _marked(wanted, marks)
        self._take(context, _with(now, wanted), known)
        if known is not None:
            return self._tell(context, ContainerEvent.UPDATE, now)
        return self._tell(context, ContainerEvent.START if managed else ContainerEvent.IGNORED, now)

    def _take(self, context: str, now: KnownUnit, known: KnownUnit | None) -> None:
        """Lay it over the policy beside the others; they keep what they have."""
        before = self.told
        try:
            settled = self._settled_with(context, now.told)
        except ConfigError:
            if known is None:
                self._tell(context, ContainerEvent.FAILED, now)
            raise
        if context in self._of_policy and now.told is not None:
            unit = next(one for one in settled if one.context_id == context)
            now = _with(now, _marked(now.told, dict(unit.cgroups)))
        self._known[context] = now
        if self.told != before:
            self.changed()

    def _settled_with(self, context: str, told: ToldUnit | None) -> list[ToldUnit]:
        wanted = [one for one in self.told if one.context_id != context]
        if told is not None:
            wanted.append(told)
        settled, refused = settle_told(self._policy, wanted)
        problem = refused.get(context, "")
        if not problem and context in self._of_policy and told is not None:
            problem = self._problem_of(told)
        if problem:
            raise ConfigError(problem, problems=(problem,))
        return settled

    def problem(
        self,
        context: str,
        addresses: Mapping[str, str],
        tags: Iterable[str] = (),
        *,
        interfaces: Iterable[str] = (),
        cgroups: Iterable[str] = (),
    ) -> str:
        """Say why `start` would refuse this; nothing if it would not. Nothing is told."""
        try:
            wanted = read_told(context, addresses.values(), interfaces, cgroups, tags)
            self._settled_with(context, wanted)
        except ConfigError as error:
            return str(error)
        return ""

    def update(
        self,
        context: str,
        addresses: Mapping[str, str],
        tags: Iterable[str] = (),
        *,
        interfaces: Iterable[str] = (),
        cgroups: Iterable[str] = (),
    ) -> ContainerEvent | None:
        """Take a unit that changed; one that was not known starts. What is told replaces all."""
        return self.start(context, addresses, tags, interfaces=interfaces, cgroups=cgroups)

    def fail(self, context: str) -> ContainerEvent | None:
        """Take a unit that was stopped because it could not be policed."""
        self._forget(context)
        return self._tell(context, ContainerEvent.FAILED)

    def delete(self, context: str) -> ContainerEvent | None:
        """Take a unit that is gone; tell so even if nobody knew it."""
        known = self._forget(context)
        return self._tell(
            context, ContainerEvent.DELETE if known else ContainerEvent.DELETE_UNKNOWN
        )

    def _forget(self, context: str) -> bool:
        known = self._known.pop(context, None)
        if known is not None and known.told is not None:
            self.changed()
        return known is not None

    def _tell(
        self, context: str, event: ContainerEvent, unit: KnownUnit | None = None
    ) -> ContainerEvent:
        unit = KnownUnit() if unit is None else unit
        self._report(
            ContainerRecord(
                context_id=context, ip_address=unit.addresses, tags=unit.tags, event=event.value
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


def _of(unit: Unit) -> KnownUnit:
    """Give what a policy says of a unit: its single addresses, the first as the primary one."""
    single = [str(one).partition("/")[0] for one in unit.select.addresses if one.is_host]
    names = ["bridge", *(f"bridge-{number}" for number in range(2, len(single) + 1))]
    return KnownUnit(addresses=dict(zip(names, single, strict=False)), tags=unit.tags)


def _with(unit: KnownUnit, told: ToldUnit) -> KnownUnit:
    return KnownUnit(addresses=unit.addresses, tags=unit.tags, told=told)


def _marked(unit: ToldUnit, marks: Mapping[str, int]) -> ToldUnit:
    """Let control groups keep the marks that they have."""
    return structs.replace(
        unit, cgroups=tuple((path, marks.get(path, 0)) for path, _ in unit.cgroups)
    )


def _same(known: KnownUnit, now: KnownUnit) -> bool:
    """Whether a unit was told of already as it is told of now."""
    if (known.addresses, known.tags) != (now.addresses, now.tags) or now.told is None:
        return False
    if known.told is None:  # it is there by the policy, and nothing is told beyond that
        return not (now.told.interfaces or now.told.cgroups)
    return (known.told.interfaces, [path for path, _ in known.told.cgroups]) == (
        now.told.interfaces,
        [path for path, _ in now.told.cgroups],
    )
