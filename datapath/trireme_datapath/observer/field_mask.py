"""Which fields of a flow are wanted: paths such as ``source.identity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trireme_datapath.observer._schemas import observer_schema
from trireme_datapath.observer.json_form import FLOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Tree: TypeAlias = dict[str, "Tree"]

__all__ = ["FieldMask"]


class FieldMask:
    """Takes fields out of flows.

    Args:
        paths: The fields to keep.

    Raises:
        ValueError: There is no such field.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Check the paths."""
        self._tree: Tree = {}
        for path in paths:
            self._add(path)

    def _add(self, path: str) -> None:
        message, tree = FLOW, self._tree
        names = path.split(".")
        for position, name in enumerate(names):
            known = observer_schema().messages.get(message)
            field = None if known is None else known.fields.get(name)
            is_last = position == len(names) - 1
            # Into a list no path leads.
            if field is None or (field.repeated and not is_last):
                raise ValueError(f"invalid fieldmask: a flow has no field {path!r}")
            message = field.type
            if is_last:
                tree[name] = {}  # the whole field, whatever narrower paths there are
                return
            if name in tree and not tree[name]:
                return  # the whole of it is wanted already
            tree = tree.setdefault(name, {})

    def apply(self, flow: Mapping[str, object]) -> dict[str, object]:
        """Give what is kept of a flow."""
        return _take(self._tree, flow)


def _take(tree: Tree, message: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, below in tree.items():
        value = message.get(name)
        if below:
            # A message on the way to a field is there, even if it is empty.
            found[name] = _take(below, value if isinstance(value, dict) else {})
        elif value is not None:
            found[name] = value
    return found
