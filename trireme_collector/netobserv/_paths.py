"""What key fields hash to, remembered: hashing costs more than all the rest of a flow log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from trireme_collector.netobserv._go_values import float_of
from trireme_collector.netobserv._groups import Path
from trireme_collector.netobserv._hash import KeyHasher, UnencodableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.netobserv._config import KeyDefinition
    from trireme_collector.netobserv._hash import Numbers

__all__ = ["PathCache"]

_TRACKED_PROTOCOLS = frozenset({6.0, 17.0, 132.0})
_MIN_GENERATION = 32_768


class PathCache:
    """Paths by the values of the key fields, the ones that were used of late.

    Two generations: when the young one is full it becomes the old one, and what is in use comes
    back from there. So it never holds more than two generations, and forgets without any effort.

    Attributes:
        young: The paths in use, by the row's key.
    """

    def __init__(self, definition: KeyDefinition, numbers: Numbers, protocol: int) -> None:
        """Start empty.

        Args:
            definition: The key fields.
            numbers: With which types numbers got in.
            protocol: Where the protocol stands in a row.
        """
        self.young: dict[tuple[object, ...], Path] = {}
        self._old: dict[tuple[object, ...], Path] = {}
        self._hasher = KeyHasher(definition, numbers)
        self._width = len(self._hasher.fields)
        self._protocol = protocol
        self._mirror = self._hasher.mirror()
        # Nothing but the key fields stands in a key, so that it can be turned round as a whole.
        self._is_whole = protocol < self._width
        self._limit = _MIN_GENERATION

    def fit(self, conversations: int) -> None:
        """Make room for both directions of so many conversations."""
        self._limit = max(_MIN_GENERATION, 2 * conversations)

    def find(
        self, key: tuple[object, ...] | None, row: Sequence[object], *, null_is_absent: bool
    ) -> Path:
        """Find the path of a row that is not among the young ones.

        Args:
            key: The beginning of the row, of text and integers only; None if it has anything
                else, of which some are equal without being the same.
            row: The values of the flow log.
            null_is_absent: Whether a null means that there is no value.
        """
        if key is None:
            return self._make(tuple(row[: self._width]), row[self._protocol], null_is_absent)
        path = self._old.pop(key, None) or self._mirrored(key)
        if path is None:
            path = self._make(key[: self._width], row[self._protocol], null_is_absent)
        if len(self.young) >= self._limit:
            self._old = self.young
            self.young = {}
        self.young[key] = path
        return path

    def _mirrored(self, key: tuple[object, ...]) -> Path | None:
        """Turn round the path of the other direction, if it is known."""
        if not self._mirror or not self._is_whole:
            return None
        other = self.young.get(tuple([key[index] for index in self._mirror]))
        if other is None or other.missing or other.refusal:
            return None
        path = Path(key)
        path.total, path.text = other.total, other.text
        path.side, path.other_side = other.other_side, other.side
        path.conversation = other.conversation
        return path

    def _make(self, keys: tuple[object, ...], protocol: object, null_is_absent: bool) -> Path:  # noqa: FBT001  one caller
        if float_of(protocol) not in _TRACKED_PROTOCOLS:
            return Path(keys, "discarded")
        if null_is_absent and None in keys:
            keys = tuple(UNSET if value is None else value for value in keys)
        path = Path(keys)
        try:
            path.total, path.side, path.other_side, path.missing = self._hasher.hash(keys)
        except UnencodableError:
            path.refusal = "rejected"
        path.text = f"{path.total:x}"
        return path
