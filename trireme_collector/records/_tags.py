"""The tag list and the address map that records carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ExtendedMap", "TagStore"]


class TagStore:
    """An ordered list of ``key=value`` tags, duplicates allowed, as the seed's type is.

    Elements are not validated: one without ``=`` is kept and printed, and `get` skips it.
    Records hold the plain tuple (`slice`); this type adds the operations.
    """

    __slots__ = ("_tags",)

    def __init__(self, tags: Iterable[str] = ()) -> None:
        """Start from a copy of the given tags."""
        self._tags = list(tags)

    @classmethod
    def from_map(cls, tags: Mapping[str, str]) -> TagStore:
        """Make one ``key=value`` tag per entry, in the order of the mapping."""
        return cls(f"{key}={value}" for key, value in tags.items())

    @property
    def slice(self) -> tuple[str, ...]:
        """The tags as the tuple that a record carries."""
        return tuple(self._tags)

    def copy(self) -> TagStore:
        """Make an independent copy."""
        return TagStore(self._tags)

    def get(self, key: str) -> str | None:
        """Give the value of the first tag with this key, which may be empty, or None."""
        for tag in self._tags:
            name, separator, value = tag.partition("=")
            if separator and name == key:
                return value
        return None

    def append_key_value(self, key: str, value: str) -> None:
        """Append ``key=value`` without looking for duplicates."""
        self._tags.append(f"{key}={value}")

    def merge(self, other: TagStore) -> int:
        """Append each well-formed tag of the other whose key is not here yet.

        Returns:
            How many were appended.
        """
        keys = {name for name, separator, _ in map(_split, self._tags) if separator}
        added = 0
        for tag in other:
            name, separator, _ = _split(tag)
            if separator and name not in keys:
                keys.add(name)
                self._tags.append(tag)
                added += 1
        return added

    def is_empty(self) -> bool:
        """Whether there is no tag at all."""
        return not self._tags

    def __iter__(self) -> Iterator[str]:
        """Go through the tags in order."""
        return iter(self._tags)

    def __len__(self) -> int:
        """Count the tags, duplicates included."""
        return len(self._tags)

    def __eq__(self, other: object) -> bool:
        """Compare the tags in order."""
        return self._tags == other._tags if isinstance(other, TagStore) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __str__(self) -> str:
        """Join the tags with one space, as upstream prints them."""
        return " ".join(self._tags)

    def __repr__(self) -> str:
        """Show the tags for debugging."""
        return f"TagStore({self._tags!r})"


def _split(tag: str) -> tuple[str, str, str]:
    return tag.partition("=")


class ExtendedMap(dict[str, str]):
    """A string-to-string map: the addresses of a container by interface or network name.

    The conventional key of the primary address is ``bridge``.
    """

    def copy(self) -> ExtendedMap:
        """Make a shallow copy of the same type."""
        return ExtendedMap(self)

    def lookup(self, key: str) -> tuple[str, bool]:
        """Give the value and whether it was found, ``("", False)`` when it was not."""
        value = self.get(key)
        return ("", False) if value is None else (value, True)
