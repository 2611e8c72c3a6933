"""Hypothesis strategies for records and for packets.

It needs the package hypothesis: ``pip install "trireme-collector[testing]"``. Those for packets are
at home in ``trireme_datapath.testing.strategies`` and are loaded from there when they are first
asked for; ``strategies.pyi`` tells type checkers.
"""

from __future__ import annotations

from typing import Final

from trireme_collector.testing._elsewhere import find as _find
from trireme_collector.testing._elsewhere import names as _names
from trireme_collector.testing._hypothesis_records import (
    INTEGERS,
    NASTY_TEXT,
    TEXT,
    records,
    structs,
)

__all__ = ["INTEGERS", "NASTY_TEXT", "TEXT", "records", "structs"]

_PREFIX: Final = "strategies."


def __getattr__(name: str) -> object:
    found = globals()[name] = _find(__name__, name, _PREFIX)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_names(_PREFIX)})
