"""Names of the testing kit that other packages have: found like commands, loaded when asked for.

The datapath's part of the kit lies with the datapath, which the core does not know. Its names are
entry points, so that a test finds everything in one place all the same.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

__all__ = ["KIT_GROUP", "find", "names"]

KIT_GROUP: Final = "trireme_collector.testing"
"""The entry-point group: a name, after ``strategies.`` if it belongs there, and an object."""
_OWN_DISTRIBUTION: Final = "trireme-collector"


def names(prefix: str = "") -> set[str]:
    """List the names below a prefix; nothing is loaded."""
    points = importlib.metadata.entry_points(group=KIT_GROUP)
    found = {point.name.removeprefix(prefix) for point in points if point.name.startswith(prefix)}
    return {name for name in found if "." not in name}


def find(module: str, name: str, prefix: str = "") -> object:
    """Load one name.

    Args:
        module: The module that is asked for it, for the message.
        name: The name.
        prefix: What stands before it in the group.

    Raises:
        AttributeError: Nobody has that name.
    """
    if not name.startswith("_"):
        points = importlib.metadata.entry_points(group=KIT_GROUP, name=f"{prefix}{name}")
        # Ours first, so that nobody replaces one of them.
        for point in sorted(
            points, key=lambda p: p.dist is None or p.dist.name != _OWN_DISTRIBUTION
        ):
            found: object = point.load()
            return found
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
