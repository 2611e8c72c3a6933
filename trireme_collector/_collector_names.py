"""Names for collectors that were given none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["name_collectors"]


def name_collectors(
    collectors: Mapping[str, object] | Sequence[object],
) -> Iterator[tuple[str, object]]:
    """Give each collector a name of its own: its key, or its class with a number if need be."""
    if isinstance(collectors, Mapping):
        yield from collectors.items()
        return
    seen: dict[str, int] = {}
    for collector in collectors:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(collector).__name__).lower()
        name = words.removesuffix("-collector") or words
        seen[name] = number = seen.get(name, 0) + 1
        yield (name if number == 1 else f"{name}-{number}"), collector
