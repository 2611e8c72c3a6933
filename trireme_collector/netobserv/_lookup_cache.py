"""The answers of a look-up, kept for a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KubernetesObject", "LookupCache", "ObjectLookup"]

_MAX_TEXT = 200

# Until when it is believed, and the fields, or None if nobody knows the address.
_Answer: TypeAlias = "tuple[int, dict[str, str] | None]"


class KubernetesObject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What stands behind an address.

    Attributes:
        name: Its name.
        type: ``Pod``, ``Service`` or ``Node``.
        namespace: Its namespace; nodes have none.
        owner_name: Its owner at the top; itself if empty.
        owner_type: The kind of the owner.
        host_ip: The address of its node.
        host_name: The name of its node.
        zone: The zone of its node.
        network_name: Its network.
    """

    name: str
    type: str
    namespace: str = ""
    owner_name: str = ""
    owner_type: str = ""
    host_ip: str = ""
    host_name: str = ""
    zone: str = ""
    network_name: str = ""


@runtime_checkable
class ObjectLookup(Protocol):
    """What an enricher of a plugin can do."""

    def find(self, address: str) -> KubernetesObject | None:
        """Give what stands behind an address, or None if nobody knows."""


class LookupCache:
    """Asks a look-up, and remembers what it said, also that it does not know.

    Several threads may ask at once. The most recently used answers are kept, and while one is
    looked up, nobody else waits for it.

    Args:
        lookup: Answers for one address.
        max_entries: How many answers are kept at most.
        lifetime_ms: How long an answer is believed, unless the look-up says so itself.
        on_failure: Is told why a look-up failed.

    Attributes:
        lookup: The look-up.
        hits: How many answers were known.
        misses: How many had to be looked up.
        failures: How many look-ups failed.
        last_error: Why the last one failed; empty if none did.
    """

    def __init__(
        self,
        lookup: ObjectLookup,
        *,
        max_entries: int,
        lifetime_ms: int,
        on_failure: Callable[[Exception], object] | None = None,
    ) -> None:
        """Begin without answers."""
        self.hits = self.misses = self.failures = 0
        self.last_error = ""
        self.lookup = lookup
        self._lifetime_ms = int(getattr(lookup, "lifetime_ms", lifetime_ms))
        self._half = max(1, max_entries // 2)
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._young: dict[str, _Answer] = {}
        self._old: dict[str, _Answer] = {}

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._young) + len(self._old)

    def fields_of(self, address: str, now_ms: int) -> dict[str, str] | None:
        """Give the fields of what stands behind an address, without the side; None if unknown."""
        with self._lock:
            found = self._young.get(address)
            if found is None and (found := self._old.pop(address, None)) is not None:
                self._keep(address, found)
            if found is not None and found[0] - self._lifetime_ms <= now_ms < found[0]:
                self.hits += 1
                return found[1]
            self.misses += 1
        fields: dict[str, str] | None = None
        try:
            answer: object = self.lookup.find(address)
            if isinstance(answer, KubernetesObject):
                fields = _fields(answer)
            elif answer is not None:
                self._fail(TypeError(f"it gave {type(answer).__name__}, not a KubernetesObject"))
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; the record is worth more than its names
            self._fail(error)
        with self._lock:
            self._keep(address, (now_ms + self._lifetime_ms, fields))
        return fields

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.failures += 1
        try:
            self.last_error = f"{type(error).__name__}: {error}"[:_MAX_TEXT]
        except Exception:  # noqa: BLE001  a plugin's error may fail to tell what it is
            self.last_error = type(error).__name__
        if self._on_failure is not None:
            self._on_failure(error)

    def _keep(self, address: str, answer: _Answer) -> None:
        if len(self._young) >= self._half and address not in self._young:
            self._old, self._young = self._young, {}
        self._young[address] = answer


def _fields(found: KubernetesObject) -> dict[str, str]:
    """List the fields of a match, without the side; some are there even if they are empty."""
    fields = {
        "Name": found.name,
        "Type": found.type,
        "OwnerName": found.owner_name or found.name,
        "OwnerType": found.owner_type or found.type,
    }
    if found.namespace:
        fields["Namespace"] = found.namespace
    if found.host_ip:
        fields["HostIP"] = found.host_ip
        if found.host_name:
            fields["HostName"] = found.host_name
    if found.network_name:
        fields["NetworkName"] = found.network_name
    if found.zone:
        fields["Zone"] = found.zone
    return fields
